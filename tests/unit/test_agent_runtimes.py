"""How an agent finds the runtime of its node and reads its configuration."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from private_registry.agent import runtimes
from private_registry.agent.runtimes import RuntimeMissingError
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


def test_a_runtime_is_known_by_its_socket_and_its_process(host_root: Path, listening: Path) -> None:
    """The kernel tells who listens: no guessing among the processes of a node."""
    assert runtimes.identify(host_root) == (listening.stat().st_ino, os.getpid())


def test_a_node_without_runtime(host_root: Path) -> None:
    """It is said that there is none."""
    with pytest.raises(RuntimeMissingError) as missing:
        runtimes.identify(host_root)
    assert missing.value.verdict.reason is Reason.NO_RUNTIME
    assert "/run/containerd/containerd.sock" in str(missing.value)


def test_a_runtime_that_does_not_listen(host_root: Path, listening: Path) -> None:
    """A socket that was left behind is no runtime."""
    left = listening.with_name("left")
    listening.rename(left)
    with socket.socket(socket.AF_UNIX) as closed:
        closed.bind(str(listening))
    with pytest.raises(RuntimeMissingError) as missing:
        runtimes.identify(host_root)
    assert missing.value.verdict.reason is Reason.RUNTIME_UNAVAILABLE
    left.rename(listening)


@pytest.mark.parametrize(
    ("path", "name"), [("run/k3s/containerd/containerd.sock", "k3s"), ("run/crio/crio.sock", "CRI-O")]
)
def test_another_runtime_is_named(host_root: Path, path: str, name: str) -> None:
    """What this version cannot configure is at least recognised."""
    (host_root / path).parent.mkdir(parents=True)
    (host_root / path).touch()
    with pytest.raises(RuntimeMissingError, match=name):
        runtimes.identify(host_root)


class TestConfiguration:
    """The process here is this test, which was started without --config: the default file is read."""

    def look_up(self, host_root: Path, version: str = "2.1.9", pid: int | None = None) -> Lookup:
        return runtimes.look_up(host_root, "worker-1", version, {}, os.getpid() if pid is None else pid)

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
