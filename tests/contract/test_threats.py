"""The threat model names, for each threat, a test that there is."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.documents import ROOT

PAGE = ROOT / "docs" / "threat-model.md"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
ACTORS = ("A tenant", "A stolen node", "A stolen agent token", "A stolen push credential", "The network")
_ROW = re.compile(r"^\| (?!-|---)(.+) \| (.+) \| (.+) \|$", re.MULTILINE)
_TEST = re.compile(r"`([\w/]+\.py)(?:::(\w+))?`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def rows() -> Iterator[tuple[str, str]]:
    """Each threat of the page, with the cell that names its tests."""
    for threat, _, tests in _ROW.findall(PAGE.read_text()):
        if tests != "test":
            yield threat, tests


def functions(path: Path) -> set[str]:
    """The tests in a file, those in classes as well."""
    tree = ast.parse(path.read_text())
    found = (each for each in ast.walk(tree) if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef))
    return {each.name for each in found if each.name.startswith("test_")}


def test_each_threat_has_a_test_that_there_is() -> None:
    """Whoever renames or drops one has to say what covers the threat from then on."""
    threats = list(rows())
    assert len(threats) > 20
    for threat, cell in threats:
        named = _TEST.findall(cell)
        assert named, threat
        for file, test in named:
            path = ROOT / "tests" / file
            assert path.is_file(), f"{threat}: {file}"
            assert not test or test in functions(path), f"{threat}: {file}::{test}"


def test_each_actor_is_there() -> None:
    """And what is not covered is said."""
    titles = re.findall(r"^## (.+)$", PAGE.read_text(), re.MULTILINE)
    for actor in (*ACTORS, "What is not covered"):
        assert any(title.startswith(actor) for title in titles), actor


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_link_leads_somewhere(page: Path) -> None:
    """Of those within the project: to a file, and to a heading of it."""
    for link in _LINK.findall(page.read_text()):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def anchors(page: Path) -> set[str]:
    """Of its headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
