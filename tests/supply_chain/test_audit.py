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
from tests.supply_chain.audit import CLEAN, NOT_ASKED, VULNERABLE, Answer, audit, pip_audit

KNOWN = Answer(2, (), ())
BAD = Answer(2, ("tomlkit 0.1: CVE-1, fixed in 0.2",), ())
NOBODY = Answer(0, (), ("there is no such host",))
HALF = Answer(1, (), ("tomlkit is not there",))

LOCK = """\
click==8.5.1 --hash=sha256:{0}
tomlkit==0.15.2 --hash=sha256:{0}
""".format("a" * 64)


@pytest.mark.parametrize(
    ("pypi", "osv", "status", "said"),
    [
        (KNOWN, NOBODY, CLEAN, "pypi knows of no vulnerability in 2 packages"),
        (NOBODY, KNOWN, CLEAN, "osv knows of no vulnerability in 2 packages"),
        (HALF, KNOWN, CLEAN, "osv knows of no vulnerability in 2 packages"),
        (BAD, KNOWN, VULNERABLE, "CVE-1, fixed in 0.2"),
        (NOBODY, BAD, VULNERABLE, "CVE-1, fixed in 0.2"),
        (NOBODY, NOBODY, NOT_ASKED, "NOT DONE"),
        (HALF, NOBODY, NOT_ASKED, "NOT DONE"),
    ],
)
def test_only_a_service_that_answered_for_every_package_makes_it_clean(
    pypi: Answer, osv: Answer, status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One vulnerability is enough to fail, and silence is not enough to pass."""
    answers = {"pypi": pypi, "osv": osv}
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


@pytest.mark.parametrize(("status", "counted", "undecided"), [(0, 0, False), (1, 1, False), (NOT_ASKED, 0, True)])
def test_a_suite_that_could_not_ask_goes_on_and_says_so(status: int, counted: int, undecided: bool) -> None:
    """`make test` passes where no service can be reached, and does not count the audit among what it has proven."""
    stage = suite.Stage("audit", ("sh", "-c", f"exit {status}"), suite.AUDIT.undecided)
    [outcome] = suite.run_together([[stage]])
    assert (outcome.status, outcome.undecided) == (counted, undecided)


@contextmanager
def service(knows: Callable[[str], tuple[int, Any]]) -> Iterator[str]:
    """A service of OSV's interface on this machine; `knows` is given the name of a package."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, answer = knows(question["package"]["name"])
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
