"""A real containerd with its CRI socket, for image pulls. It needs root, and runs no pods."""

import shutil
import socket
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.cluster import versions
from tests.cluster.host import unmount
from tests.cluster.processes.process import Process, program


def configuration(
    *,
    old: bool,
    root: Path,
    state: Path,
    sockets: Path,
    config_path: str,
    head: str = "",
    more: str = "",
    snapshotter: str = "native",
) -> str:
    """Return the config.toml of a containerd that keeps to its own directories.

    The native snapshotter needs nothing of the kernel. Version 1 of containerd reads configuration version 2 (`old`),
    and has one plugin where version 2 has two. `head` is TOML at the top level, `more` is appended.
    """
    plugin = "io.containerd.grpc.v1.cri" if old else "io.containerd.cri.v1.images"
    table = f'[plugins."{plugin}".containerd]' if old else f'[plugins."{plugin}"]'
    return f"""\
version = {2 if old else 3}
root = "{root}"
state = "{state}"
{head}

[grpc]
  address = "{sockets}/containerd.sock"

[ttrpc]
  address = "{sockets}/containerd.sock.ttrpc"

{table}
  snapshotter = "{snapshotter}"

[plugins."{plugin}".registry]
  config_path = "{config_path}"

[plugins."io.containerd.internal.v1.opt"]
  path = "{root}/opt"

[plugins."io.containerd.nri.v1.nri"]
  disable = true

{more}"""


class Containerd:
    """containerd with CRI, its data below `directory` and its socket on a short path of its own.

    `config_path` is the setting of that name, by default the directory `certs_d`; `""` leaves it unset. `config` is
    TOML that is appended to the configuration. `version` is one that `parts --containerd VERSION` has built.
    """

    def __init__(
        self,
        directory: Path,
        *,
        version: str = versions.CONTAINERD,
        config_path: str | None = None,
        config: str = "",
    ) -> None:
        """Write the configuration; nothing is started."""
        self.version = version
        self.root = directory / "root"
        self.certs_d = directory / "certs.d"
        self.config_file = directory / "config.toml"
        self.log = directory / "containerd.log"
        self.certs_d.mkdir(parents=True, exist_ok=True)
        # a socket's path may have 107 bytes, and the directories of tests are longer than that
        self._short = Path(tempfile.mkdtemp(prefix="containerd-"))
        self.socket = self._short / "containerd.sock"
        self.config_file.write_text(
            configuration(
                old=version.startswith("v1."),
                root=self.root,
                state=self._short / "state",
                sockets=self._short,
                config_path=str(self.certs_d) if config_path is None else config_path,
                more=config,
            )
        )
        binary = program(f"containerd-{version}", "containerd")
        self.process = Process(
            [binary, "--config", self.config_file],
            log=self.log,
            ready=self._serves_cri,
            env={"PATH": f"{binary.parent}:/usr/sbin:/usr/bin:/sbin:/bin"},
        )

    @property
    def pid(self) -> int:
        """Return the process id. Raises NotReadyError when it does not run."""
        return self.process.pid

    def _serves_cri(self) -> bool:
        """Tell whether the socket accepts and CRI has begun: by its log, because asking would take a gRPC client."""
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(self.socket))
        written = self.log.read_text(errors="replace")[self._log_start :]
        return "Start streaming server" in written and "containerd successfully booted" in written

    def start(self) -> None:
        """Start it and wait until CRI is served. Raises NotReadyError."""
        self._log_start = len(self.log.read_text(errors="replace")) if self.log.exists() else 0
        self.process.start()

    def stop(self) -> None:
        """End it; images and configuration stay, and `start` serves them again on the same socket."""
        self.process.stop()
        unmount(self.root)
        unmount(self._short)

    def restart(self) -> None:
        """Stop it and start it again. Raises NotReadyError."""
        self.stop()
        self.start()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self._short)
