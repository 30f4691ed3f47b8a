"""The commands in the README, as they stand there: what somebody copies from it is what the tests run."""

import re
import subprocess
from pathlib import Path

from tests.kubectl import Kubectl

ROOT = Path(__file__).parents[1]
NAMESPACE = "registries"
"""Of the registry `team` in the README."""


def day_two(what: str) -> list[str]:
    """The commands of a row of the table of day-2 work, by its first cell."""
    (row,) = (line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith(f"| {what} |"))
    return re.findall(r"`(kubectl [^`]+)`", row)


def run(kubectl: Kubectl, command: str, namespace: str) -> None:
    """In a shell, for the registry `team` of another namespace. Raises CalledProcessError."""
    assert f"-n {NAMESPACE} " in command, command
    elsewhere = command.replace(f"-n {NAMESPACE} ", f"-n {namespace} ")
    function = 'kubectl() { "$KUBECTL" "$@"; }; '
    subprocess.run(["sh", "-euc", function + elsewhere], env=kubectl.environment(), check=True)
