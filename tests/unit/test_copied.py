"""Copies of a process that has imported what they run (tests/cluster/processes/copied.py)."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.processes import NotReadyError, Process
from tests.cluster.processes.copied import Original
from tests.waiting import eventually

MODULE = """
import os, signal, sys
born = os.getpid()
def run(arguments):
    print(*arguments, os.environ["WHO"], os.environ.get("SECRET"), born == os.getppid(), flush=True)
    if "stay" in arguments:
        signal.pause()
    sys.exit(3)
"""


@pytest.fixture
def original(tmp_path: Path) -> Iterator[Original]:
    (tmp_path / "greets.py").write_text(MODULE)
    paths = f"{tmp_path}:{Path(__file__).parents[2]}"
    original = Original("greets", log=tmp_path / "original.log", env={"PYTHONPATH": paths, "SECRET": "of the original"})
    yield original
    original.close()


def a_process(original: Original, log: Path, *arguments: str, who: str = "me") -> Process:
    return Process(
        arguments, log=log, ready=lambda: log.exists() and log.read_text(), env={"WHO": who}, begin=original.copy
    )


def test_each_copy_has_its_own_arguments_log_and_environment(original: Original, tmp_path: Path) -> None:
    """And nothing of the last one, or of what the original was given."""
    one = a_process(original, tmp_path / "one.log", "stay", "here")
    other = a_process(original, tmp_path / "other.log", "stay", "there", who="you")
    one.start()
    other.start()
    assert one.pid != other.pid
    assert (tmp_path / "one.log").read_text() == "stay here me None True\n"
    assert (tmp_path / "other.log").read_text() == "stay there you None True\n"
    one.stop()
    assert other.pid


def test_the_end_of_a_copy_is_seen(original: Original, tmp_path: Path) -> None:
    """Whether it ends by itself, is told to, or is killed; and another one can be made after it."""
    process = a_process(original, tmp_path / "log", "go")
    process.spawn()

    def ended() -> bool:
        try:
            return not process.pid
        except NotReadyError:
            return True

    eventually(ended, within=10, what="it has ended")
    for end in (Process.stop, Process.kill):
        process = a_process(original, tmp_path / "log", "stay")
        process.start()
        pid = process.pid
        end(process)
        assert (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] == "Z"


def test_no_copy_outlives_the_original(original: Original, tmp_path: Path) -> None:
    """Which does not outlive us."""
    process = a_process(original, tmp_path / "log", "stay")
    process.start()
    pid = process.pid
    original.close()
    eventually(lambda: not (Path("/proc") / str(pid)).exists(), within=10, what="the copy has ended")


def test_an_original_that_cannot_be_is_told_of(tmp_path: Path) -> None:
    """Its log says why."""
    original = Original("no.such.module", log=tmp_path / "original.log", env={})
    with pytest.raises(OSError, match="has ended"):
        original.copy([], {}, tmp_path / "log")
    original.close()
    assert "No module named 'no'" in (tmp_path / "original.log").read_text()
