"""`make test`: every check and test, in the order in which they fail fastest, and at the end where the time went.

    python -m tests.suite [STAGE ...]

On request alone: `runtimes` and `matrix` (`make test-runtimes`), and `audit`, `scan`, `supply`, `sbom` and `security`
(`make test-security`).

Stops after the first stage that fails, with its exit status. Two stages run at once where both wait more than they
compute: the lines of each then begin with its name, and the tests that failed are named once more at the end.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests import rights
from tests.supply_chain.audit import NOT_ASKED

PYTEST = (sys.executable, "-m", "pytest", "--durations=8", "--durations-min=2")
SUPPLY_CHAIN = ("env", "PYTHONPATH=operator", sys.executable, "-m", "tests.supply_chain")


@dataclass(frozen=True)
class Stage:
    """A part of the suite: what it proves, and the command that does."""

    name: str
    command: tuple[str, ...]
    undecided: int | None = None
    """The exit status by which it says that it could not find out: that is no failure, and no success either."""


OF_RUNTIMES = tuple(
    str(path)
    for kind in ("agent", "containerd", "crio", "docker", "podman", "runtime")
    for path in sorted(Path("tests/integration").glob(f"test_{kind}*.py"))
)
"""What an agent does with each runtime on a node, against the runtimes themselves."""

OF_SECURITY = (
    *(str(path) for path in sorted(Path("tests").rglob("test_*hostile*.py"))),
    *("tests/contract/test_manifests.py", "tests/contract/test_rights.py", "tests/unit/test_pki.py"),
    *("tests/integration/admission", "tests/integration/test_distribution_credentials.py"),
)
"""What somebody with bad intentions may write, and where he is stopped."""

STAGES = (
    (Stage("check", ("make", "--no-print-directory", "check")),),
    (Stage("unit", (*PYTEST, "tests/unit")),),
    (Stage("parts", (sys.executable, "-m", "tests.cluster", "parts", "--all")),),
    (Stage("contract", (*PYTEST, "tests/contract")),),
    (Stage("cluster", (sys.executable, "-m", "tests.cluster", "up")),),
    (Stage("integration", (*PYTEST, "tests/integration")), Stage("e2e", (*PYTEST, "tests/e2e"))),
    (Stage("rights", ("env", "PYTHONPATH=operator", sys.executable, "-m", "tests.rights")),),
)
ON_REQUEST = (
    (Stage("runtimes", (*PYTEST, *OF_RUNTIMES, "tests/contract/test_docs.py")),),
    (Stage("audit", (*SUPPLY_CHAIN, "audit"), undecided=NOT_ASKED),),
    (Stage("scan", (*SUPPLY_CHAIN, "scan")),),
    (Stage("supply", (*PYTEST, "tests/supply_chain")),),
    (Stage("sbom", (*SUPPLY_CHAIN, "sbom")),),
    (Stage("security", (*PYTEST, *OF_SECURITY)),),
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
    undecided: bool = False


def main() -> int:
    """Run the named stages, or all; return the exit status."""
    wanted = sys.argv[1:] or [stage.name for stages in STAGES for stage in stages]
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        os.environ[rights.DIRECTORY] = directory
        outcomes = _run_all(wanted)
    for outcome in outcomes:
        for line in outcome.failed:
            print(f"{outcome.name}: {line}")
    print("== where the time went")
    for outcome in outcomes:
        ending = " FAILED" if outcome.status else " NOT DONE, it could not ask: see above" if outcome.undecided else ""
        print(f"{_minutes(outcome.seconds)}  {outcome.name}{ending}")
    print(f"{_minutes(time.monotonic() - began)}  in all", flush=True)
    return next((outcome.status for outcome in outcomes if outcome.status), 0)


def _run_all(wanted: Sequence[str]) -> list[Outcome]:
    outcomes: list[Outcome] = []
    for stages in (*STAGES, *ON_REQUEST):
        chosen = [stage for stage in stages if stage.name in wanted]
        outcomes += run_together(chosen)
        if any(outcome.status for outcome in outcomes):
            break
    return outcomes


def run_together(stages: Sequence[Stage]) -> list[Outcome]:
    """Run stages side by side, and return how each ended."""
    if not stages:
        return []
    print(f"== {' and '.join(stage.name for stage in stages)}", flush=True)
    with ThreadPoolExecutor(len(stages)) as threads:
        return list(threads.map(_run_named if len(stages) > 1 else _run, stages))


def _run(stage: Stage) -> Outcome:
    began = time.monotonic()
    status = subprocess.run(stage.command, check=False).returncode
    if status == stage.undecided:
        return Outcome(stage.name, 0, time.monotonic() - began, undecided=True)
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
