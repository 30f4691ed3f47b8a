"""`make test`: every check and test, in the order in which they fail fastest, and at the end where the time went.

    python -m tests.suite [STAGE ...]

`runtimes` and `matrix` are on request alone (`make test-runtimes`): what they prove is part of `integration`.

Stops after the first stage that fails, with its exit status. Two stages run at once where both wait more than they
compute: the lines of each then begin with its name, and the tests that failed are named once more at the end.
"""

import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

PYTEST = (sys.executable, "-m", "pytest", "--durations=8", "--durations-min=2")


@dataclass(frozen=True)
class Stage:
    """A part of the suite: what it proves, and the command that does."""

    name: str
    command: tuple[str, ...]


OF_RUNTIMES = tuple(
    str(path)
    for kind in ("agent", "containerd", "crio", "docker", "podman", "runtime")
    for path in sorted(Path("tests/integration").glob(f"test_{kind}*.py"))
)
"""What an agent does with each runtime on a node, against the runtimes themselves."""

STAGES = (
    (Stage("check", ("make", "--no-print-directory", "check")),),
    (Stage("unit", (*PYTEST, "tests/unit")),),
    (Stage("parts", (sys.executable, "-m", "tests.cluster", "parts", "--all")),),
    (Stage("contract", (*PYTEST, "tests/contract")),),
    (Stage("cluster", (sys.executable, "-m", "tests.cluster", "up")),),
    (Stage("integration", (*PYTEST, "tests/integration")), Stage("e2e", (*PYTEST, "tests/e2e"))),
)
ON_REQUEST = (
    (Stage("runtimes", (*PYTEST, *OF_RUNTIMES, "tests/contract/test_docs.py")),),
    (Stage("matrix", ("env", "PYTHONPATH=operator", sys.executable, "-m", "tests.integration.containerd_matrix")),),
)


@dataclass(frozen=True)
class Outcome:
    """How a stage ended: its exit status, and the seconds it took."""

    name: str
    status: int
    seconds: float
    failed: tuple[str, ...] = ()
    """The tests that failed, as far as they can be told."""


def main() -> int:
    """Run the named stages, or all; return the exit status."""
    wanted = sys.argv[1:] or [stage.name for stages in STAGES for stage in stages]
    began = time.monotonic()
    outcomes: list[Outcome] = []
    for stages in (*STAGES, *ON_REQUEST):
        chosen = [stage for stage in stages if stage.name in wanted]
        outcomes += _run_together(chosen)
        if any(outcome.status for outcome in outcomes):
            break
    for outcome in outcomes:
        for line in outcome.failed:
            print(f"{outcome.name}: {line}")
    print("== where the time went")
    for outcome in outcomes:
        print(f"{_minutes(outcome.seconds)}  {outcome.name}{' FAILED' if outcome.status else ''}")
    print(f"{_minutes(time.monotonic() - began)}  in all", flush=True)
    return next((outcome.status for outcome in outcomes if outcome.status), 0)


def _run_together(stages: Sequence[Stage]) -> list[Outcome]:
    if not stages:
        return []
    print(f"== {' and '.join(stage.name for stage in stages)}", flush=True)
    with ThreadPoolExecutor(len(stages)) as threads:
        return list(threads.map(_run_named if len(stages) > 1 else _run, stages))


def _run(stage: Stage) -> Outcome:
    began = time.monotonic()
    status = subprocess.run(stage.command, check=False).returncode
    return Outcome(stage.name, status, time.monotonic() - began)


def _run_named(stage: Stage) -> Outcome:
    """Run it with its name in front of each line that it prints."""
    began = time.monotonic()
    with subprocess.Popen(stage.command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
        assert running.stdout
        failed = []
        for line in running.stdout:
            print(f"{stage.name:>11} | {line}", end="", flush=True)
            if line.startswith(("FAILED ", "ERROR ")):
                failed.append(line.rstrip())
    return Outcome(stage.name, running.returncode, time.monotonic() - began, tuple(failed))


def _minutes(seconds: float) -> str:
    return f"{int(seconds // 60):4}:{int(seconds % 60):02}"


if __name__ == "__main__":
    sys.exit(main())
