"""How an agent finds the runtime of its node and reads its configuration."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from private_registry.agent.files.roots import Root
from private_registry.agent.node import Node
from private_registry.agent.places import Places
from private_registry.agent.runtimes.containerd import ContainerdKind, look_up
from private_registry.agent.runtimes.dockerd import Dockerd
from private_registry.agent.runtimes.runtime import RuntimeMissingError
from private_registry.trust.containerd import Lookup
from private_registry.trust.reasons import Reason

V3 = 'version = 3\n[plugins."io.containerd.cri.v1.images".registry]\nconfig_path = "%s"\n'


@pytest.fixture
def host_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("n")
    (root / "etc/containerd/conf.d").mkdir(parents=True)
    (root / "run/containerd").mkdir(parents=True)
    return root


@pytest.fixture
def listening(host_root: Path) -> Iterator[Path]:
    """A socket where containerd's is, that this process listens on."""
    path = host_root / "run/containerd/containerd.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        yield path


@pytest.fixture
def kind(host_root: Path) -> ContainerdKind:
    return ContainerdKind(host_root, "worker-1", lambda path: Root(host_root, path), Places(host_root).literal)


def test_a_runtime_is_known_by_its_socket_and_its_process(kind: ContainerdKind, listening: Path) -> None:
    """The kernel tells who listens: no guessing among the processes of a node."""
    assert kind.identify() == (listening.stat().st_ino, os.getpid())


def test_a_node_without_runtime(host_root: Path, kind: ContainerdKind) -> None:
    """It is said that there is none, of those that could be there."""
    with pytest.raises(RuntimeMissingError) as missing:
        kind.identify()
    assert missing.value.verdict is None
    trouble = Node(host_root, wrote=lambda _: None).trouble
    assert trouble is not None
    assert trouble.reason is Reason.NO_RUNTIME
    assert "neither containerd nor Docker Engine nor CRI-O" in trouble.message


def test_a_runtime_that_does_not_listen(kind: ContainerdKind, listening: Path) -> None:
    """A socket that was left behind is no runtime."""
    left = listening.with_name("left")
    listening.rename(left)
    with socket.socket(socket.AF_UNIX) as closed:
        closed.bind(str(listening))
    with pytest.raises(RuntimeMissingError) as missing:
        kind.identify()
    assert missing.value.verdict is not None
    assert missing.value.verdict.reason is Reason.RUNTIME_UNAVAILABLE
    left.rename(listening)


def test_a_runtime_of_somebody_else_is_named(host_root: Path) -> None:
    """What this version does not configure is at least recognised."""
    (host_root / "run/k3s/containerd").mkdir(parents=True)
    (host_root / "run/k3s/containerd/containerd.sock").touch()
    trouble = Node(host_root, wrote=lambda _: None).trouble
    assert trouble is not None
    assert "k3s" in trouble.message


@pytest.mark.parametrize("left", [None, "", "no number", "0", "1", "{own}", "999999999"])
def test_dockerd_is_known_by_its_pid_file_and_its_name(host_root: Path, left: str | None) -> None:
    """A file that a stopped dockerd left may name any process by now: no other is ever sent a signal."""
    if left is not None:
        (host_root / "run/docker.pid").write_text(left.format(own=os.getpid()))
    with pytest.raises(RuntimeMissingError) as missing:
        Dockerd(host_root).reload()
    assert missing.value.verdict is None


class TestConfiguration:
    """The process here is this test, which was started without --config: the default file is read."""

    def look_up(self, host_root: Path, version: str = "2.1.9", pid: int | None = None) -> Lookup:
        return look_up(host_root, "worker-1", version, {}, os.getpid() if pid is None else pid)

    def test_the_main_file_and_its_imports(self, host_root: Path) -> None:
        """Breadth first, in the order of their names, each once, and the last that sets it wins."""
        etc = host_root / "etc/containerd"
        (etc / "config.toml").write_text('imports = ["conf.d/*.toml"]\n' + V3 % "/main")
        (etc / "conf.d/b.toml").write_text(V3 % "/b")
        (etc / "conf.d/a.toml").write_text('imports = ["../config.toml", "/etc/containerd/c.toml"]\n' + V3 % "/a")
        (etc / "conf.d/z.conf").write_text(V3 % "/not-imported")
        (etc / "c.toml").write_text("version = 3\n")
        assert self.look_up(host_root).root == PurePosixPath("/b")
        (etc / "c.toml").write_text(V3 % "/c")
        assert self.look_up(host_root).root == PurePosixPath("/c")

    def test_without_a_file_the_version_decides(self, host_root: Path) -> None:
        """A containerd starts without one, too."""
        assert self.look_up(host_root, "2.2.9").root == PurePosixPath("/etc/containerd/certs.d")
        verdict = self.look_up(host_root, "2.1.9").verdict
        assert verdict is not None
        assert verdict.reason is Reason.CONFIG_PATH_UNSET

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ('imports = ["/usr/share/containerd/x.toml"]', "/usr/share/containerd/x.toml: No such file"),
            ("= 1", "config.toml"),
        ],
    )
    def test_what_cannot_be_read_is_named_as_the_node_has_it(self, host_root: Path, text: str, said: str) -> None:
        """A path of the node, not of the agent."""
        (host_root / "etc/containerd/config.toml").write_text(text)
        verdict = self.look_up(host_root).verdict
        assert verdict is not None
        assert verdict.reason is Reason.CONFIG_PATH_UNREADABLE
        assert said in verdict.message
        assert str(host_root) not in verdict.message

    def test_without_the_nodes_processes_it_cannot_be_told(self, host_root: Path) -> None:
        """The message says what the pod needs."""
        verdict = self.look_up(host_root, pid=0).verdict
        assert verdict is not None
        assert "hostPID" in verdict.message
