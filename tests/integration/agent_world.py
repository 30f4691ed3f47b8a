"""What a test of agents needs: entries and a NodeTrust in the API server, registries, a node and its agent."""

import asyncio
import contextlib
import itertools
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

from private_registry import pki
from private_registry.api import hosts, names
from private_registry.api.registry import PrivateRegistry
from private_registry.kube import kinds
from private_registry.kube.client import Kube
from private_registry.kube.login import Credentials
from private_registry.trust import entry, publish
from tests.certificates import a_certificate
from tests.cluster.commands import output
from tests.cluster.processes import ControlPlane, RegistryServer
from tests.cluster.processes.copied import Original
from tests.integration import accounts
from tests.integration.agent_node import Agent, Host, NodeContainerd
from tests.integration.pushing import push
from tests.registries import a_registry
from tests.waiting import aeventually

RULES = hosts.Rules(service_ranges=(ip_network("127.96.0.0/16"), ip_network("fd00:96::/112")))
OPEN = {"auth": {"mode": "None"}}
TLS_OFF = {"tls": {"mode": "Disabled"}}

H = TypeVar("H", bound=Host)

_number = itertools.count(1)


@dataclass
class Served:
    """A registry that listens where its Service would, and what the operator would publish of it."""

    registry: PrivateRegistry
    server: RegistryServer
    entry: entry.Entry

    @property
    def key(self) -> str:
        return self.registry.key

    @property
    def hosts(self) -> Sequence[str]:
        return self.entry.hosts

    @property
    def hash(self) -> str:
        return entry.hash_of(self.entry.canonical())

    @property
    def probes(self) -> int:
        """How often the registry was asked for the image that cannot exist."""
        return self.server.process.log.read_text().count("privateregistry/probe")

    async def push(self, repository: str) -> None:
        """Put an image of one layer into the registry, as `repository:v1`."""
        await push(self.server.url, repository)


class AgentWorld(Generic[H]):
    """One node of a cluster, with a name and an agents' namespace of its own."""

    def __init__(
        self, control_plane: ControlPlane, kube: Kube, node: H, directory: Path, *, original: Original | None = None
    ) -> None:
        """Nothing is created yet. `original`: what its agents are copies of, which come sooner."""
        number = next(_number)
        self.kube = kube
        self.node = node
        self.name = f"node-{number}"
        self.namespace = f"agents-{number}"
        self.account = f"system:serviceaccount:{self.namespace}:{accounts.AGENT_ACCOUNT}"
        """Which this node's agents have."""
        self._token = ""
        self._control_plane = control_plane
        self._directory = directory
        self._original = original
        self._servers = contextlib.ExitStack()
        self._addresses = itertools.count(10)
        self._number = number

    def agent(
        self, *arguments: str, token: str | None = None, api_port: int | None = None, copied: bool = True
    ) -> Agent:
        """An agent for this node, under its account unless a token says otherwise; a context manager.

        One that is not `copied`, where it could be, has memory of its own alone.
        """
        url = urlsplit(self._control_plane.url)
        return Agent(
            self.node,
            self._directory / f"agent-{next(_number)}",
            name=self.name,
            namespace=self.namespace,
            ca_file=self._control_plane.ca_file,
            token=token or self._token,
            port=api_port or url.port or 443,
            arguments=arguments,
            original=self._original if copied else None,
        )

    def as_agent(self) -> Kube:
        """A client with an agent's rights, for an agent in this process."""
        return Kube(Credentials(self._control_plane.url, str(self._control_plane.ca_file), lambda: self._token))

    async def kubectl(self, *arguments: str) -> str:
        """Run kubectl as the administrator, in the agents' namespace."""
        command = [str(self._control_plane.kubectl), f"--kubeconfig={self._control_plane.kubeconfig}"]
        return await asyncio.to_thread(output, *command, f"--namespace={self.namespace}", *arguments)

    async def set_up(self) -> None:
        """What the installation and the operator would have made: namespace, account and marker, the NodeTrust."""
        await self.kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}})
        self._token = await accounts.add_agents(self.kube, self.namespace)
        await self.mark()
        await self.add_node_trust()

    async def mark(self) -> None:
        metadata = {"name": names.COMPLETE, "namespace": self.namespace}
        await self.kube.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})

    async def add_node_trust(self, labels: dict[str, str] | None = None) -> None:
        spec = {"nodeLabels": labels or {}}
        await self.kube.create(
            {"apiVersion": names.API_VERSION, "kind": "NodeTrust", "metadata": {"name": self.name}, "spec": spec}
        )

    def tear_down(self) -> None:
        self._servers.close()

    def next_address(self) -> str:
        """One of the Service range that no registry has."""
        return f"127.96.{self._number}.{next(self._addresses)}"

    def serve(
        self,
        name: str = "team",
        *,
        spec: dict[str, Any] | None = None,
        address: str | None = None,
        certified: Sequence[str] | None = None,
        authority: pki.Authority | None = None,
        server_name: str = "",
        listen: bool = True,
    ) -> Served:
        """A registry with TLS, or without by its spec. `certified`: what its certificate names, else its address."""
        address = address or self.next_address()
        registry = a_registry({**OPEN, **(spec or {})}, name=name)
        directory = self._directory / f"{name}-{address}"
        tls, ca = None, ""
        if registry.spec.tls.mode != "Disabled":
            certificate = a_certificate(certified or [address, f"{name}.registries.svc"], authority)
            ca = certificate.ca_pem
            tls = (directory / "tls.crt", directory / "tls.key")
            directory.mkdir(parents=True)
            tls[0].write_text(certificate.cert_pem)
            tls[1].write_text(certificate.key_pem)
        server = RegistryServer(directory, tls=tls, address=address, port=names.PORT, asks=registry.authenticates)
        if listen:
            self._servers.enter_context(server)
        built = publish.build(registry, cluster_ips=[address], ca_bundle=ca, rules=RULES, server_name=server_name)
        return Served(registry, server, built.entry)

    async def publish(self, served: Served, **changes: Any) -> None:
        """Let the agents have the entry of a registry, with these fields changed."""
        changed = replace(served.entry, **changes)
        config_map = publish.config_map(changed, served.registry, self.namespace)
        live = await self.kube.get(kinds.CONFIG_MAP, self.namespace, config_map["metadata"]["name"])
        if live is None:
            await self.kube.create(config_map)
        else:
            await self.kube.merge(
                kinds.CONFIG_MAP, self.namespace, config_map["metadata"]["name"], {"data": config_map["data"]}
            )

    async def is_empty(self) -> bool:
        """Whether the agents' namespace is gone, or has no ConfigMap any more."""
        return not (await self.kube.list(kinds.CONFIG_MAP, self.namespace)).items

    async def withdraw(self, served: Served) -> None:
        """Take the entry of a registry away."""
        name = names.entry(served.registry.namespace, served.registry.name)
        live = await self.kube.get(kinds.CONFIG_MAP, self.namespace, name)
        assert live is not None
        await self.kube.delete(live)

    async def status(self) -> dict[str, Any]:
        node_trust = await self.kube.get(kinds.NODE_TRUST, None, self.name)
        assert node_trust is not None
        status: dict[str, Any] = node_trust.get("status") or {}
        return status

    async def row(self, key: str) -> dict[str, Any] | None:
        """What the node says of a registry."""
        rows = (await self.status()).get("registries") or []
        return next((row for row in rows if row["registry"] == key), None)

    async def until(self, key: str, reason: str, *, saying: str = "", within: float = 20) -> dict[str, Any]:
        """Wait until the node says this of a registry, and in these words; return all that it says of it."""

        async def said() -> dict[str, Any]:
            row = await self.row(key) or {}
            assert row.get("reason") == reason, row
            assert saying in row["message"], row
            return row

        return await aeventually(said, within=within, every=0.05, what=f"{self.name} says {reason} of {key}")

    async def until_trusted(self, served: Served, *, within: float = 20) -> dict[str, Any]:
        """Wait until the node says that it trusts a registry as it was published last."""

        async def trusted() -> dict[str, Any]:
            row = await self.row(served.key) or {}
            assert (row.get("trusted"), row.get("entryHash")) == (True, served.hash), row
            return row

        return await aeventually(trusted, within=within, every=0.05, what=f"{self.name} trusts {served.key}")

    async def until_gone(self, key: str, *, within: float = 20) -> None:
        async def gone() -> bool:
            row = await self.row(key)
            assert row is None, row
            return True

        await aeventually(gone, within=within, every=0.05, what=f"{self.name} says nothing of {key} any more")


World = AgentWorld[NodeContainerd]


@contextlib.contextmanager
def local_address(address: str) -> Iterator[str]:
    """An IPv6 address on loopback for a while."""
    subprocess.run(["ip", "-6", "addr", "add", f"{address}/128", "dev", "lo", "nodad"], check=True)
    try:
        yield address
    finally:
        subprocess.run(["ip", "-6", "addr", "del", f"{address}/128", "dev", "lo"], check=True)
