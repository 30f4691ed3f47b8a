"""The operator's process, as its Deployment would start it: under its own account, with that account's rights alone."""

import json
import re
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.cluster.processes import ControlPlane, NotReadyError, Process
from tests.cluster.processes.copied import Original
from tests.cluster.processes.process import begun, free_port
from tests.integration.conftest import ROOT

_SUCCESSES = re.compile(r'^private_registry_reconcile_total\{[^}]*result="success"[^}]*\} (\S+)$', re.MULTILINE)

PROGRAM = "tests.integration.operator.parts.hurried"
ENVIRONMENT = {"PYTHONPATH": f"{ROOT / 'operator'}:{ROOT}", "PYTHONWARNINGS": "error"}
ACCOUNT = "private-registry-operator"
ALLOWED_HOSTS = "*.registry.example.com"
IMAGE = "images.example.com/private-registry-operator:1"

WAITS: Mapping[str, float] = {
    # So long that whatever a test sees happen, happened because a watch told.
    "controller.engine.RESYNC": 600.0,
    "controller.data.volumes.EVERY": 5.0,
    "controller.health.nodes.YOUNG": 5.0,
    "controller.health.rollout.PATIENCE": 3.0,
    "controller.health.diagnosis.UNSCHEDULED_FOR": 2.0,
    "controller.health.confirmation.SETTLES": 1.0,
    "controller.registries.loop.LOST_NODE": 6.0,
    "controller.registries.loop.AGAIN": 1.0,
    "controller.registries.loop.BUSY": 1.0,
    "controller.registries.loop.GATHER": 0.5,
    # As little as bcrypt can: a registry counts them out with each request.
    "controller.main.ROUNDS": 4,
}


class Operator:
    """A candidate for the one Lease; `account` is a ServiceAccount of the operator's namespace."""

    def __init__(self, control_plane: ControlPlane, directory: Path, *, account: str = ACCOUNT) -> None:
        """Nothing is started."""
        self.user = f"system:serviceaccount:private-registry-system:{account}"
        self.log = directory / f"{account}.log"
        self._kubeconfig = directory / f"{account}.kubeconfig"
        self._control_plane = control_plane
        self._identity = account
        self._port = free_port()
        self._process: Process | None = None
        self._original = Original(PROGRAM, log=directory / f"{account}.original.log", env=ENVIRONMENT)
        self._how: tuple[Sequence[str], Mapping[str, float]] = ((), {})

    def log_in(self, token: str) -> None:
        """Use this token from the next start on."""
        config = json.loads(self._control_plane.kubeconfig.read_text())
        config["users"][0]["user"] = {"token": token}
        self._kubeconfig.write_text(json.dumps(config))

    def start(
        self,
        *arguments: str,
        waits: Mapping[str, float] | None = None,
        writes: int = 0,
        leading: bool = True,
        copied: bool = True,
    ) -> None:
        """Start it and wait until it leads, or until it waits for the Lease. It dies after so many `writes`, if any.

        One that is not `copied` from a process that has imported everything takes longer, and is all by itself.
        """
        self.stop()
        self._how = arguments, waits or {}
        how = {"waits": {**WAITS, **(waits or {})}, "writes": writes}
        self._process = Process(
            [
                *(() if copied else (sys.executable, "-m", PROGRAM)),
                "operator",
                f"--kubeconfig={self._kubeconfig}",
                f"--identity={self._identity}",
                f"--health-port={self._port}",
                f"--allowed-hosts={ALLOWED_HOSTS}",
                f"--image={IMAGE}",
                "--log-format=text",
                *arguments,
                json.dumps(how),
            ],
            log=self.log,
            ready=self.is_leading if leading else self.is_alive,
            env=ENVIRONMENT,
            begin=self._original.copy if copied else begun,
        )
        if writes:
            self._process.spawn()
        else:
            self._process.start()

    def ensure(self, waits: Mapping[str, float]) -> None:
        """Have it run, with these constants and no arguments of its own."""
        if not self.is_running() or self._how != ((), waits):
            self.start(waits=waits)

    @property
    def waits(self) -> Mapping[str, float]:
        """The constants that it was started with last."""
        return self._how[1]

    def restart(self) -> None:
        """Stop it and start it in the same way."""
        arguments, waits = self._how
        self.start(*arguments, waits=waits)

    def is_running(self) -> bool:
        try:
            return bool(self._process and self._process.pid)
        except NotReadyError:
            return False

    def shows(self) -> dict[str, bytes]:
        """Its log, its arguments and its environment. Raises NotReadyError when it does not run."""
        if not self._process:
            raise NotReadyError("the operator was not started")
        process = Path(f"/proc/{self._process.pid}")
        return {"log": self.log.read_bytes()} | {part: (process / part).read_bytes() for part in ("cmdline", "environ")}

    def is_alive(self) -> bool:
        return self._get("/healthz") == 200

    def is_leading(self) -> bool:
        """What its readiness says. Raises OSError when it does not answer."""
        return self._get("/readyz") == 200

    def kill(self) -> None:
        """SIGKILL, in whatever it is doing."""
        if self._process:
            self._process.kill()

    def stop(self) -> None:
        """SIGTERM, as the kubelet would."""
        if self._process:
            self._process.stop()
            self._process = None

    def reconciles(self) -> int:
        """How many reconciles have ended well. Raises OSError when it does not answer."""
        with urllib.request.urlopen(f"{self._url}/metrics", timeout=5) as answer:
            found = _SUCCESSES.findall(answer.read().decode())
        return sum(int(float(number)) for number in found)

    @property
    def _url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def _get(self, path: str) -> int:
        try:
            with urllib.request.urlopen(self._url + path, timeout=5) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._original.close()
