"""What the audit says, and what it does not say."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests import suite
from tests.cluster.processes.process import free_port
from tests.supply_chain.audit import CLEAN, NOT_ASKED, VULNERABLE, Answer, audit, newest, pip_audit, projects

KNOWN = Answer(2, (), ())
BAD = Answer(2, ("tomlkit 0.1: CVE-1, fixed in 0.2",), ())
NOBODY = Answer(0, (), ("there is no such host",))
HALF = Answer(1, (), ("tomlkit is not there",))

LOCK = """\
click==8.5.1 --hash=sha256:{0}
tomlkit==0.15.2 --hash=sha256:{0}
""".format("a" * 64)


@pytest.mark.parametrize(
    ("pypi", "osv", "newest", "status", "said"),
    [
        (KNOWN, NOBODY, NOBODY, CLEAN, "pypi knows of no vulnerability in 2 packages"),
        (NOBODY, KNOWN, NOBODY, CLEAN, "osv knows of no vulnerability in 2 packages"),
        (HALF, KNOWN, NOBODY, CLEAN, "osv knows of no vulnerability in 2 packages"),
        (HALF, NOBODY, KNOWN, CLEAN, "newest knows of no vulnerability in 2 packages"),
        (BAD, KNOWN, KNOWN, VULNERABLE, "CVE-1, fixed in 0.2"),
        (NOBODY, BAD, KNOWN, VULNERABLE, "CVE-1, fixed in 0.2"),
        (NOBODY, NOBODY, BAD, VULNERABLE, "CVE-1, fixed in 0.2"),
        (NOBODY, NOBODY, NOBODY, NOT_ASKED, "NOT DONE"),
        (HALF, NOBODY, HALF, NOT_ASKED, "NOT DONE"),
    ],
)
def test_only_a_service_that_answered_for_every_package_makes_it_clean(
    pypi: Answer, osv: Answer, newest: Answer, status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One vulnerability is enough to fail, and silence is not enough to pass."""
    answers = {"pypi": pypi, "osv": osv, "newest": newest}
    assert audit(lambda service, _lock: answers[service]) == status
    out = capsys.readouterr().out
    assert said in out
    assert ("knows of no vulnerability" in out) == (status == CLEAN)


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "requirements.lock"
    path.write_text(LOCK)
    return path


def test_pip_audits_report_is_understood(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against a service that knows of a vulnerability in one of two packages."""

    def knows(package: str) -> tuple[int, Any]:
        fixed = {"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "0.16"}]}
        affected = [{"package": {"name": "tomlkit", "ecosystem": "PyPI"}, "ranges": [fixed]}]
        return 200, {"vulns": [{"id": "CVE-1", "affected": affected}]} if package == "tomlkit" else {}

    with service(knows) as url:
        monkeypatch.setenv("PIP_AUDIT_OSV_URL", url)
        assert pip_audit("osv", lock) == Answer(2, ("tomlkit 0.15.2: CVE-1, fixed in 0.16",), ())


def test_a_service_that_knows_of_nothing_was_asked(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then, and only then, nothing is known against the packages."""
    with service(lambda _package: (200, {})) as url:
        monkeypatch.setenv("PIP_AUDIT_OSV_URL", url)
        assert pip_audit("osv", lock) == Answer(2, (), ())


@pytest.mark.parametrize("status", [403, 404, 502])
def test_a_service_that_refuses_was_not_asked(lock: Path, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that answers in its place counts for nothing."""
    with service(lambda _package: (status, {})) as url:
        monkeypatch.setenv("PIP_AUDIT_OSV_URL", url)
        answer = pip_audit("osv", lock)
    assert (answer.asked, answer.vulnerable) == (0, ())
    assert answer.unasked


def test_a_service_that_is_not_there_was_not_asked(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason is told in a line."""
    monkeypatch.setenv("PIP_AUDIT_OSV_URL", f"http://127.0.0.1:{free_port()}")
    answer = pip_audit("osv", lock)
    assert answer.asked == 0
    assert "Connection" in answer.unasked[0]


def test_a_project_tells_of_its_newest_version(lock: Path) -> None:
    """What is known of that one counts for who has it, but for what was withdrawn; of another one nothing is known."""
    withdrawn = {"id": "CVE-0", "fixed_in": [], "withdrawn": "2026-01-01T00:00:00Z"}
    known = {"id": "CVE-1", "fixed_in": ["0.16"], "withdrawn": None}
    pages = {
        "click": {"info": {"version": "8.5.1"}, "vulnerabilities": [withdrawn]},
        "tomlkit": {"info": {"version": "0.15.2"}, "vulnerabilities": [known]},
    }
    with service(lambda package: (200, pages[package])) as url:
        assert newest(lock, url) == Answer(2, ("tomlkit 0.15.2: CVE-1, fixed in 0.16",), ())
        pages["tomlkit"]["info"] = {"version": "0.16"}
        answer = newest(lock, url)
    assert (answer.asked, answer.vulnerable) == (1, ())
    assert answer.unasked == ("tomlkit 0.15.2 is pinned, and its project tells of 0.16: run `make lock`",)


@pytest.mark.parametrize("index", ["https://mirror.example.com/simple", "https://me:mine@mirror.example.com/simple/"])
def test_projects_are_beside_the_index_of_this_machine(index: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever pip was configured with; who asks there is nobody's business."""
    monkeypatch.setenv("PIP_INDEX_URL", index)
    assert projects() == "https://mirror.example.com/pypi"


@pytest.mark.parametrize("answer", [(404, {}), (200, {}), (200, [])])
def test_a_project_that_has_no_page_was_not_asked(lock: Path, answer: tuple[int, Any]) -> None:
    """Nor one of which a mirror makes something up."""
    with service(lambda _package: answer) as url:
        found = newest(lock, url)
    assert (found.asked, len(found.unasked)) == (0, 2)


@pytest.mark.parametrize(("status", "counted", "undecided"), [(0, 0, False), (1, 1, False), (NOT_ASKED, 0, True)])
def test_a_suite_that_could_not_ask_goes_on_and_says_so(status: int, counted: int, undecided: bool) -> None:
    """`make test` passes where no service can be reached, and does not count the audit among what it has proven."""
    stage = suite.Stage("audit", ("sh", "-c", f"exit {status}"), suite.AUDIT.undecided)
    [outcome] = suite.run_together([[stage]])
    assert (outcome.status, outcome.undecided) == (counted, undecided)


@contextmanager
def service(knows: Callable[[str], tuple[int, Any]]) -> Iterator[str]:
    """A service of OSV's and of PyPI's interface on this machine; `knows` is given the name of a package."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._answer(question["package"]["name"])

        def do_GET(self) -> None:
            self._answer(self.path.split("/")[-2])

        def _answer(self, package: str) -> None:
            status, answer = knows(package)
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
