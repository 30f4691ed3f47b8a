"""`make test`: every check and test, in the order in which they fail fastest, and at the end where the time went.

    python -m tests.suite [STAGE ...]

Stops at the first stage that fails, with its exit status.
"""

import subprocess
import sys
import time
from dataclasses import dataclass

PYTEST = (sys.executable, "-m", "pytest", "--durations=8", "--durations-min=2")


@dataclass(frozen=True)
class Stage:
    """A part of the suite: what it proves, and the command that does."""

    name: str
    command: tuple[str, ...]


STAGES = (
    Stage("check", ("make", "--no-print-directory", "check")),
    Stage("unit", (*PYTEST, "tests/unit")),
    Stage("parts", (sys.executable, "-m", "tests.cluster", "parts", "--oldest")),
    Stage("contract", (*PYTEST, "tests/contract")),
    Stage("integration", (*PYTEST, "tests/integration")),
    Stage("cluster", (sys.executable, "-m", "tests.cluster", "up")),
    Stage("e2e", (*PYTEST, "tests/e2e")),
)


def main() -> int:
    """Run the named stages, or all; return the exit status."""
    wanted = sys.argv[1:] or [stage.name for stage in STAGES]
    times: list[tuple[str, float]] = []
    status = 0
    for stage in STAGES:
        if stage.name not in wanted:
            continue
        print(f"== {stage.name}", flush=True)
        began = time.monotonic()
        status = subprocess.run(stage.command, check=False).returncode
        times.append((stage.name, time.monotonic() - began))
        if status:
            print(f"== {stage.name} failed with status {status}", flush=True)
            break
    print("== where the time went")
    for name, seconds in times:
        print(f"{int(seconds // 60):4}:{int(seconds % 60):02}  {name}")
    total = sum(seconds for _, seconds in times)
    print(f"{int(total // 60):4}:{int(total % 60):02}  in all", flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
