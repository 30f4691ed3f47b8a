"""`make test`: every check and test, in the order in which they fail fastest, and at the end where the time went.

    python -m tests.suite [STAGE ...]

On request alone: `runtimes` and `matrix` (`make test-runtimes`), `security` (`make test-security`) and `data` (`make
test-data`).

Stops after the first step in which a stage fails, with its exit status. Stages run side by side where they wait more
than they compute: the lines of each then begin with its name, and the tests that failed are named once more at the end.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
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

OF_DATA = (
    "tests/unit/data",
    *(f"tests/unit/controller/test_{about}.py" for about in ("claims", "collection", "sweeps", "volumes")),
    *(
        str(path)
        for about in ("clients", "collect", "durability", "full_disk", "read_only", "retention", "space", "sweep")
        for path in sorted(Path("tests/integration").rglob(f"test_{about}*.py"))
    ),
)
"""What becomes of the images: kept, collected, let go, and all that a volume can do to them."""

OF_SECURITY = (
    *(str(path) for path in sorted(Path("tests").rglob("test_*hostile*.py"))),
    *("tests/contract/test_manifests.py", "tests/contract/test_rights.py", "tests/unit/test_pki.py"),
    *("tests/integration/admission", "tests/integration/test_distribution_credentials.py"),
    *("tests/integration/operator/test_tenants.py", "tests/integration/operator/test_churn.py"),
    *("tests/integration/operator/test_secrecy.py", "tests/contract/test_threats.py"),
)
"""What somebody with bad intentions may write, and where he is stopped."""

_NETWORK = """
ip link set lo up && ip link add tests type veth peer name nobody && ip link set nobody up &&
ip addr add 10.200.0.2/24 dev tests && ip link set tests up && ip route add default via 10.200.0.1 && exec "$@"
"""
MOUNTING = ("unshare", "--mount")
"""In front of a command that mounts: wherever it is cut off, its mounts go with it."""
ALONE = (*MOUNTING, "--net", "sh", "-c", _NETWORK, "sh")
"""In front of a command whose processes listen at addresses of their own choice, too: in a network of its own, with a
default route that leads nowhere, they collide with nobody's.
"""

OF_THE_OPERATOR = "tests/integration/operator"
OWN_CLUSTER = "tests/e2e/test_runtime_config.py"

CHECK = Stage("check", ("make", "--no-print-directory", "check"))
UNIT = Stage("unit", (*MOUNTING, *PYTEST, "tests/unit"))
PARTS = Stage("parts", (sys.executable, "-m", "tests.cluster", "parts", "--all"))
CONTRACT = Stage("contract", (*PYTEST, "tests/contract"))
CLUSTER = Stage("cluster", (sys.executable, "-m", "tests.cluster", "up"))
OPERATOR = Stage("operator", (*ALONE, *PYTEST, OF_THE_OPERATOR))
NODES = Stage("nodes", (*ALONE, *PYTEST, "tests/integration", f"--ignore={OF_THE_OPERATOR}"))
E2E = Stage("e2e", (*PYTEST, "tests/e2e", f"--ignore={OWN_CLUSTER}"))
OPT_IN = Stage("opt-in", (*PYTEST, OWN_CLUSTER))
RIGHTS = Stage("rights", ("env", "PYTHONPATH=operator", sys.executable, "-m", "tests.rights"))
AUDIT = Stage("audit", (*SUPPLY_CHAIN, "audit"), undecided=NOT_ASKED)
SCAN = Stage("scan", (*SUPPLY_CHAIN, "scan"))
SUPPLY = Stage("supply", (*PYTEST, "tests/supply_chain"))
SBOM = Stage("sbom", (*SUPPLY_CHAIN, "sbom"))
RUNTIMES = Stage("runtimes", (*ALONE, *PYTEST, *OF_RUNTIMES, "tests/contract/test_docs.py"))
DATA = Stage("data", (*ALONE, *PYTEST, *OF_DATA))
SECURITY = Stage("security", (*ALONE, *PYTEST, *OF_SECURITY))
MATRIX = Stage("matrix", ("env", "PYTHONPATH=operator", sys.executable, "-m", "tests.integration.containerd_matrix"))

STEPS: tuple[tuple[tuple[Stage, ...], ...], ...] = (
    ((CHECK,),),
    ((PARTS, CONTRACT),),
    ((UNIT,), (CLUSTER,)),
    ((E2E,), (OPERATOR,), (NODES, OPT_IN, AUDIT, SCAN, SUPPLY, SBOM)),
    ((RIGHTS,),),
)
"""Step after step; in a step, lanes side by side; in a lane, stage after stage."""
ON_REQUEST = (((RUNTIMES,),), ((SECURITY,),), ((MATRIX,),), ((DATA,),))


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
    wanted = sys.argv[1:] or [stage.name for lanes in STEPS for lane in lanes for stage in lane]
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
    for lanes in (*STEPS, *ON_REQUEST):
        chosen = [[stage for stage in lane if stage.name in wanted] for lane in lanes]
        outcomes += run_together([lane for lane in chosen if lane])
        if any(outcome.status for outcome in outcomes):
            break
    return outcomes


def run_together(lanes: Sequence[Sequence[Stage]]) -> list[Outcome]:
    """Run lanes side by side, each until a stage of it fails, and return how each stage ended."""
    if not lanes:
        return []
    print(f"== {' and '.join(', '.join(stage.name for stage in lane) for lane in lanes)}", flush=True)
    run = _run_named if len(lanes) > 1 else _run
    with ThreadPoolExecutor(len(lanes)) as threads:
        return [outcome for lane in threads.map(lambda lane: _run_lane(lane, run), lanes) for outcome in lane]


def _run_lane(lane: Sequence[Stage], run: Callable[[Stage], Outcome]) -> list[Outcome]:
    outcomes: list[Outcome] = []
    for stage in lane:
        outcomes.append(run(stage))
        if outcomes[-1].status:
            break
    return outcomes


def _run(stage: Stage) -> Outcome:
    began = time.monotonic()
    status = subprocess.run(stage.command, check=False, env=_environment(stage)).returncode
    return _outcome(stage, status, began)


def _run_named(stage: Stage) -> Outcome:
    """Run it with its name in front of each line that it prints."""
    began = time.monotonic()
    with subprocess.Popen(
        stage.command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=_environment(stage)
    ) as running:
        assert running.stdout
        failed = []
        for line in running.stdout:
            print(f"{stage.name:>11} | {line}", end="", flush=True)
            if line.startswith(("FAILED ", "ERROR ")):
                failed.append(line.rstrip())
    return _outcome(stage, running.returncode, began, failed)


def _environment(stage: Stage) -> dict[str, str]:
    return {**os.environ, rights.PART: stage.name}


def _outcome(stage: Stage, status: int, began: float, failed: Sequence[str] = ()) -> Outcome:
    undecided = status == stage.undecided
    return Outcome(stage.name, 0 if undecided else status, time.monotonic() - began, tuple(failed), undecided)


def _minutes(seconds: float) -> str:
    return f"{int(seconds // 60):4}:{int(seconds % 60):02}"


if __name__ == "__main__":
    sys.exit(main())
