"""What runs beside a registry and tells how full its volume is, as its container starts it."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from private_registry.jobs import report
from tests.cluster.processes.process import free_port
from tests.waiting import eventually

ROOT = Path(__file__).parents[3]


class Reporter:
    """A running one, of `directory`."""

    def __init__(self, directory: Path, address: str = "127.0.0.1") -> None:
        self.address, self.port = address, free_port()
        arguments = ["-m", "private_registry", "report", f"--directory={directory}", f"--port={self.port}"]
        environment = {**os.environ, "POD_IP": address, "PYTHONPATH": str(ROOT / "operator")}
        self.process = subprocess.Popen([sys.executable, *arguments], env=environment)

    def ask(self, path: str = "/", method: str = "GET") -> tuple[int, str]:
        """Status and body."""
        connection = http.client.HTTPConnection(self.address, self.port, timeout=20)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()


@pytest.fixture
def reporter(tmp_path: Path) -> Iterator[Reporter]:
    found = Reporter(tmp_path)
    try:
        eventually(found.ask, within=60, every=0.05, what="it answers")
        yield found
    finally:
        found.process.kill()
        found.process.wait()


def test_how_full_the_volume_is(reporter: Reporter, tmp_path: Path) -> None:
    """What df would say: bytes for all, used, and free for who is not root."""
    status, body = reporter.ask()
    assert status == 200
    seen, now = os.statvfs(tmp_path), json.loads(body)
    assert now["total"] == seen.f_blocks * seen.f_frsize
    assert abs(now["free"] - seen.f_bavail * seen.f_frsize) < 2**30
    assert now["used"] + now["free"] <= now["total"]
    assert now["inodesTotal"] == seen.f_files


def test_the_same_for_prometheus(reporter: Reporter) -> None:
    """Without a client library: four gauges, each with what it is."""
    status, body = reporter.ask("/metrics")
    assert status == 200
    values = dict(line.split() for line in body.splitlines() if not line.startswith("#"))
    assert int(values["private_registry_volume_total_bytes"]) > int(values["private_registry_volume_free_bytes"]) > 0
    assert body.count("# HELP") == body.count("# TYPE") == len(values) == 4


@pytest.mark.parametrize("path", ["/../../etc/passwd", "//etc/passwd", "/%2e%2e/etc/passwd", "/?directory=/etc", "/x"])
def test_nothing_else_is_there(reporter: Reporter, path: str) -> None:
    """No part of a request is a path of anything."""
    status, body = reporter.ask(path)
    assert (status, body) == (404, "there are / and /metrics\n")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_can_be_done_to_it(reporter: Reporter, method: str) -> None:
    """It answers GET, and lives on."""
    assert reporter.ask(method=method)[0] == 501
    assert reporter.ask()[0] == 200


def test_who_says_nothing_holds_it_up_for_a_moment_only(reporter: Reporter) -> None:
    """It answers one after the other, so that nobody can take its memory; and each has a deadline."""
    with socket.create_connection((reporter.address, reporter.port)) as silent:
        silent.sendall(b"GET / HT")
        assert reporter.ask()[0] == 200


def test_a_volume_that_is_away(reporter: Reporter, tmp_path: Path) -> None:
    """It says so; it does not end, which would take the registry's pod out of its Service."""
    tmp_path.rename(aside := tmp_path.with_name("aside"))
    status, body = reporter.ask()
    aside.rename(tmp_path)
    assert (status, body) == (503, "No such file or directory\n")
    assert reporter.ask()[0] == 200


def test_it_ends_at_once_when_told_to(reporter: Reporter) -> None:
    """Also with a connection that is open: a pod that has to go does not wait for it."""
    with socket.create_connection((reporter.address, reporter.port)):
        reporter.process.send_signal(signal.SIGTERM)
        assert reporter.process.wait(report.DEADLINE) == 0


def test_an_ipv6_pod(tmp_path: Path) -> None:
    """It listens where its pod is, of whichever family."""
    found = Reporter(tmp_path, "::1")
    try:
        assert eventually(found.ask, within=60, every=0.05, what="it answers")[0] == 200
    finally:
        found.process.kill()
        found.process.wait()


def test_it_is_small(reporter: Reporter) -> None:
    """There is one for each registry: what it has for itself stays below what its container asks for."""
    for _ in range(50):
        reporter.ask()
    rollup = Path(f"/proc/{reporter.process.pid}/smaps_rollup").read_text()
    private = sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Private_"))
    assert private < 20 * 1024, rollup
