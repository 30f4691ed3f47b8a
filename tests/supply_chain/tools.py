"""The programs that look at what we ship, each in an environment of its own, from a lock file of its own.

None of them is imported: checkov alone brings a hundred packages, among them older versions of some that are used here.
They are kept in the cache directory, by the content of their lock file, so a fresh clone has them at once.
"""

import fcntl
import hashlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.built.golang import KUBE_SCORE, build
from tests.cluster.commands import run
from tests.cluster.host import cache_directory

ROOT = Path(__file__).parents[2]

AUDIT = "requirements-audit.lock"
CHECKOV = "requirements-checkov.lock"
RUNTIME = "requirements.lock"
"""What the operator itself runs on: nothing else is in that environment, not even pip."""


def environment(lock: str) -> Path:
    """Return the environment of a lock file, made if it is not there yet. Raises CommandError."""
    content = (ROOT / lock).read_bytes() + sys.version.encode()
    target = _directory() / f"{Path(lock).stem}-{hashlib.sha256(content).hexdigest()[:12]}"
    with _alone(target):
        if not (target / "whole").exists():
            log = target.with_suffix(".log")
            run(sys.executable, "-m", "venv", "--clear", "--without-pip", target, log=log)
            run(
                sys.executable, "-m", "pip", "--python", target / "bin/python", "install", "--quiet",
                "--disable-pip-version-check", "--require-hashes", "-r", ROOT / lock, log=log,
            )  # fmt: skip
            (target / "whole").touch()
    return target


def kube_score() -> Path:
    """Return kube-score, built if it is not there yet. Raises CommandError."""
    target = _directory() / "kube-score"
    with _alone(target):
        return build(KUBE_SCORE, cache_directory(), target.with_suffix(".log")) / "kube-score"


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """Two test runs of one machine make a tool one after the other, which is: once."""
    with target.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _directory() -> Path:
    directory = cache_directory() / "tools"
    directory.mkdir(parents=True, exist_ok=True)
    return directory
