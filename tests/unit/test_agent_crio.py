"""CRI-O as the agent tells it of registries: by files, and by a signal when they changed or were not read."""

import contextlib
import signal
import socket
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from private_registry.agent.cri.client import Answer, Cri
from private_registry.agent.files.drop_ins import DropIns
from private_registry.agent.files.roots import Root
from private_registry.agent.runtimes import crio
from private_registry.trust.node_files import NodeFiles
from private_registry.trust.reasons import Reason
from tests.unit.test_trust_node_files import PLAIN, an_entry, files

HOST = "team.registries.svc:5000"
NOT_THERE = f"reading manifest 0a1b in {HOST}/privateregistry/probe: manifest unknown"
NOT_READ = (
    f"initializing source docker://{HOST}/privateregistry/probe:0a1b: pinging container registry {HOST}: "
    f'Get "https://{HOST}/v2/": http: server gave HTTP response to HTTPS client'
)
NOT_RESOLVED = f'pinging container registry {HOST}: Get "http://{HOST}/v2/": dial tcp: lookup team: no such host'
DOWN = f'pinging container registry {HOST}: Get "http://{HOST}/v2/": dial tcp 10.96.12.34:5000: connection refused'


class Answering(Cri):
    """Answers to pulls, one after the other."""

    def __init__(self, answers: Sequence[str]) -> None:
        self._answers = iter(answers)

    async def pull(self, image: str) -> Answer:
        return Answer("UNKNOWN", next(self._answers))


@pytest.fixture
def told() -> list[str]:
    """How often CRI-O was told to read its drop-ins."""
    return []


@pytest.fixture
def drop_ins(tmp_path: Path, told: list[str]) -> DropIns:
    (tmp_path / "etc").mkdir()
    return DropIns(tmp_path, lambda: told.append("changed"))


def a_crio(drop_ins: DropIns, tmp_path: Path, *answers: str) -> crio.Crio:
    root = Root(tmp_path, crio.ROOT)
    return crio.Crio(Answering(answers), identity=(1, 1), version="1.34.0", root=root, drop_ins=drop_ins)


def wanted() -> NodeFiles:
    return files(an_entry(hosts=(HOST,), **PLAIN))


async def test_it_is_told_of_what_an_agent_before_did_not_tell(
    drop_ins: DropIns, told: list[str], tmp_path: Path
) -> None:
    """One may be ended after it wrote and before it told: the next one sees it by the proof."""
    a_crio(drop_ins, tmp_path).apply(wanted())
    told.clear()
    after = a_crio(drop_ins, tmp_path, NOT_READ, NOT_THERE)
    assert (after.apply(wanted()), told) == (0, [])
    verdict = await after.prove(wanted())
    assert verdict.reason is Reason.NOT_HONOURED
    assert "journalctl -u crio" in verdict.message
    assert (after.apply(wanted()), len(told)) == (0, 1)
    assert (await after.prove(wanted())).trusted
    assert (after.apply(wanted()), len(told)) == (0, 1)


@pytest.mark.parametrize("answer", [NOT_RESOLVED, NOT_READ, DOWN, NOT_THERE])
async def test_it_is_told_of_each_change_once(drop_ins: DropIns, told: list[str], tmp_path: Path, answer: str) -> None:
    """Whatever it answers: it looks into /etc/hosts every five seconds only, and a reload mends no broken file."""
    runtime = a_crio(drop_ins, tmp_path, answer, answer)
    for _ in range(2):
        runtime.apply(wanted())
        await runtime.prove(wanted())
    runtime.apply(wanted())
    assert len(told) == 1


@pytest.fixture
def listening(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, socket.socket]]:
    """The root of a node where this process listens as CRI-O would."""
    host_root = tmp_path_factory.mktemp("n")
    (host_root / "run/crio").mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(host_root / "run/crio/crio.sock"))
        server.listen()
        yield host_root, server


@pytest.fixture
def signals() -> Iterator[list[int]]:
    """Those to reload that this process was sent."""
    sent: list[int] = []
    before = signal.signal(signal.SIGHUP, lambda number, _: sent.append(number))
    yield sent
    signal.signal(signal.SIGHUP, before)


def test_one_that_starts_is_left_alone(
    listening: tuple[Path, socket.socket], signals: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """CRI-O listens before it minds SIGHUP, which would end it until then; it minds it once it serves."""
    host_root, server = listening
    monkeypatch.setattr(crio, "_ANSWER_WITHIN", 0.1)
    crio.reload(host_root)
    assert signals == []

    def serve() -> None:
        for _ in range(4):  # each time it is looked who listens, too
            # Who asked before has gone.
            with contextlib.suppress(BrokenPipeError), server.accept()[0] as client:
                if client.recv(1024):
                    client.sendall(b"HTTP/1.1 404 Not Found\r\n\r\n")

    serving = threading.Thread(target=serve)
    serving.start()
    crio.reload(host_root)
    serving.join()
    assert signals == [signal.SIGHUP]
