"""What is true of the source tree as a whole."""

import subprocess

from tests.contract.documents import ROOT


def test_operator_is_a_source_root_and_no_package() -> None:
    """A package named `operator` in the working directory would shadow the standard library's for every Python."""
    assert not (ROOT / "operator/__init__.py").exists()


def test_no_module_is_longer_than_a_person_reads() -> None:
    """A file of more than 400 lines is two files."""
    tracked = subprocess.run(
        ["git", "ls-files", "*.py", "*.pyi", "*.sh"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split()
    paths = [ROOT / name for name in tracked if "_pb2" not in name]
    long = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in paths if path.exists()}
    assert {name: lines for name, lines in long.items() if lines > 400} == {}
