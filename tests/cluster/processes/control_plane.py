"""A real Kubernetes control plane without nodes: etcd, kube-apiserver and kube-controller-manager on loopback."""

import json
import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from tests.cluster import versions
from tests.cluster.processes.process import Process, free_port, program

ADMIN = "admin"
ADMIN_TOKEN = "admin-of-a-test"
CONTROLLERS_TOKEN = "controllers-of-a-test"
TOKENS = f"""\
{ADMIN_TOKEN},{ADMIN},{ADMIN},"system:masters"
{CONTROLLERS_TOKEN},system:kube-controller-manager,controllers
"""
AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        # With its owners: whether they may be named is asked of RBAC too, and not logged (tests/rights).
        {"level": "Request", "verbs": ["create"], "resources": [{"group": "", "resources": ["services"]}]},
        {"level": "Metadata"},
    ],
}
# Nothing here is a real node: these would find every Node object dead, and evict from it.
ABSENT_CONTROLLERS = "*,-node-ipam-controller,-node-lifecycle-controller,-taint-eviction-controller"

IN_HASTE = {"GOGC": "400"}
"""Collect garbage less often: a tenth less of the processor's time in all, for some hundred MB of memory."""


class Moment(NamedTuple):
    """A place in the audit log before which nothing is of interest, and the time, for what was logged late."""

    offset: int
    at: datetime


class ControlPlane:
    """An API server with its audit log, everything below `directory`. Objects live; nothing schedules or runs pods.

    `version` is Kubernetes' (an older one must have been built, by `parts --all`), `service_cidr` one range, or two
    of both families, separated by a comma, the primary one first; `flags` are added to the API server's.
    """

    def __init__(
        self,
        directory: Path,
        *,
        version: str = versions.KUBERNETES,
        service_cidr: str = "10.96.0.0/16",
        flags: Sequence[str] = (),
    ) -> None:
        """Write the configuration; nothing is started."""
        built = "kubernetes-v" + version.removeprefix("v")
        directory.mkdir(parents=True, exist_ok=True)
        certificates = directory / "certificates"
        port, etcd_port, peer_port, controllers_port = (free_port() for _ in range(4))
        self.url = f"https://127.0.0.1:{port}"
        self.token = ADMIN_TOKEN
        self.ca_file = certificates / "apiserver.crt"  # the API server signs its own, and appends the CA
        self.kubeconfig = directory / "kubeconfig"
        self.audit_log = directory / "audit.log"
        self.kubectl = program(f"kubernetes-{versions.KUBERNETES}", "kubectl")
        tokens, policy = directory / "tokens.csv", directory / "audit-policy.json"
        tokens.write_text(TOKENS)
        policy.write_text(json.dumps(AUDIT_POLICY))
        self.kubeconfig.write_text(self._kubeconfig(ADMIN_TOKEN))
        controllers_kubeconfig = directory / "controllers.kubeconfig"
        controllers_kubeconfig.write_text(self._kubeconfig(CONTROLLERS_TOKEN))
        etcd_url, peer_url = f"http://127.0.0.1:{etcd_port}", f"http://127.0.0.1:{peer_port}"
        # the key of the API server's own certificate signs service account tokens too: one key less to make
        key = certificates / "apiserver.key"
        self.etcd = Process(
            [
                program(f"etcd-{versions.ETCD}", "etcd"),
                f"--data-dir={directory / 'etcd'}",
                "--unsafe-no-fsync",
                f"--listen-client-urls={etcd_url}",
                f"--advertise-client-urls={etcd_url}",
                f"--listen-peer-urls={peer_url}",
                f"--initial-advertise-peer-urls={peer_url}",
                f"--initial-cluster=default={peer_url}",
                "--log-level=warn",
            ],
            log=directory / "etcd.log",
            env=IN_HASTE,
            ready=lambda: _get(f"{etcd_url}/health"),
        )
        self.apiserver = Process(
            [
                program(built, "kube-apiserver"),
                f"--etcd-servers={etcd_url}",
                "--bind-address=127.0.0.1",
                f"--secure-port={port}",
                f"--cert-dir={certificates}",
                f"--token-auth-file={tokens}",
                "--authorization-mode=RBAC",
                "--service-account-issuer=https://kubernetes.default.svc",
                f"--service-account-key-file={key}",
                f"--service-account-signing-key-file={key}",
                f"--service-cluster-ip-range={service_cidr}",
                "--allow-privileged",
                f"--audit-policy-file={policy}",
                f"--audit-log-path={self.audit_log}",
                "--audit-log-mode=blocking",
                "--audit-log-maxsize=10000",  # MB: an offset in it stays true
                *flags,
            ],
            log=directory / "kube-apiserver.log",
            env=IN_HASTE,
            ready=lambda: self._get("/readyz"),
            grace=2,  # it would wait for the end of every watch
        )
        self.controllers = Process(
            [
                program(built, "kube-controller-manager"),
                f"--kubeconfig={controllers_kubeconfig}",
                "--bind-address=127.0.0.1",
                f"--secure-port={controllers_port}",
                f"--cert-dir={directory / 'controllers'}",
                "--use-service-account-credentials",
                f"--service-account-private-key-file={key}",
                f"--root-ca-file={self.ca_file}",
                "--leader-elect=false",
                f"--controllers={ABSENT_CONTROLLERS}",
                "--kube-api-qps=200",
                "--kube-api-burst=400",
            ],
            log=directory / "kube-controller-manager.log",
            env=IN_HASTE,
            ready=self._controllers_work,
        )

    def _kubeconfig(self, token: str) -> str:
        cluster = {"server": self.url, "certificate-authority": str(self.ca_file)}
        return json.dumps(  # JSON is YAML
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "test", "cluster": cluster}],
                "users": [{"name": "test", "user": {"token": token}}],
                "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
                "current-context": "test",
            },
            indent=1,
        )

    def _get(self, path: str) -> bytes:
        return _get(self.url + path, self.token, ssl.create_default_context(cafile=str(self.ca_file)))

    def _controllers_work(self) -> bool:
        """Tell whether two of them have done their work in the namespace `default`."""
        self._get("/api/v1/namespaces/default/serviceaccounts/default")
        self._get("/api/v1/namespaces/default/configmaps/kube-root-ca.crt")
        return True

    def audit(self, since: Moment) -> list[dict[str, Any]]:
        """Return the requests that were received since then and are answered.

        Each is a complete `audit.k8s.io/v1` Event: verb, user, objectRef, responseStatus. The log is late: what a
        request changes can be seen by others before it is in there.
        """
        with self.audit_log.open("rb") as log:
            log.seek(since.offset)
            lines, _, _half = log.read().rpartition(b"\n")
        events = (json.loads(line) for line in lines.splitlines())
        return [each for each in events if datetime.fromisoformat(each["requestReceivedTimestamp"]) >= since.at]

    def now(self) -> Moment:
        """This moment; nothing of a log that may be long is read for it."""
        at = datetime.now(UTC)
        with self.audit_log.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(size - (tail := min(size, 2**20)))
            return Moment(size - len(log.read(tail).rpartition(b"\n")[2]), at)

    def requests(self) -> Iterator[dict[str, Any]]:
        """Go through the whole audit log of a control plane that has ended, which may be long."""
        with self.audit_log.open() as log:
            for line in log:
                if line.endswith("\n"):
                    yield json.loads(line)

    def start(self) -> None:
        """Start everything and wait until the controllers work. Raises NotReadyError, with everything ended."""
        try:
            for process in (self.etcd, self.apiserver, self.controllers):
                process.start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End everything; what is in etcd stays, and `start` serves it again at the same address."""
        for process in (self.controllers, self.apiserver, self.etcd):
            process.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _get(url: str, token: str | None = None, context: ssl.SSLContext | None = None) -> bytes:
    """Return the body of a 200, or raise OSError."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(request, timeout=5, context=context) as answer:
            return bytes(answer.read())
    except urllib.error.HTTPError as refusal:
        with refusal:
            raise OSError(f"{url}: {refusal}: {refusal.read().decode(errors='replace')}") from None
