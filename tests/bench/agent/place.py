"""Where the agent's figures are taken: one node, and as many registries as a figure asks for."""

import contextlib
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from private_registry.api import names
from private_registry.kube import kinds
from private_registry.kube.client import Kube
from private_registry.trust import publish
from private_registry.trust.entry import KEY
from tests.bench.measure import timed, until
from tests.certificates import a_certificate
from tests.cluster.processes import ControlPlane, RegistryServer
from tests.integration.agent_node import NodeContainerd
from tests.integration.agent_world import RULES, Served, World
from tests.integration.conftest import api_server, credentials
from tests.registries import a_registry


@dataclass(frozen=True)
class Place:
    """A node without an agent so far, and registries whose entries are published."""

    world: World
    control_plane: ControlPlane
    registries: list[Served]
    _extra: str
    """One more certificate, PEM."""

    def turn(self, registry: Served) -> None:
        """Let its entry have one more certificate, or no more."""
        bundle = registry.entry.ca_bundle
        shorter = bundle.removesuffix(self._extra)
        changed = shorter if shorter != bundle else bundle + self._extra
        registry.entry = replace(registry.entry, ca_bundle=changed)

    async def put(self, registry: Served) -> None:
        """Publish its entry anew, with a single request."""
        name = names.entry(registry.registry.namespace, registry.registry.name)
        data = {"data": {KEY: registry.entry.canonical()}}
        await self.world.kube.merge(kinds.CONFIG_MAP, self.world.namespace, name, data)

    async def change(self, registry: Served) -> float:
        """Seconds from just before its entry is changed until the node says that this one is proven."""
        self.turn(registry)

        def proven(seen: dict[str, Any]) -> bool:
            rows = (seen[self.world.name].get("status") or {}).get("registries") or []
            said = [(row["entryHash"], row["trusted"]) for row in rows if row["registry"] == registry.key]
            return said == [(registry.hash, True)]

        watched = until(self.world.kube, kinds.NODE_TRUST, None, proven, within=60)
        return await timed(lambda: self.put(registry), watched)

    async def until_trusted(self, *, within: float) -> float:
        """Wait until the node says that it trusts every registry; the moment (monotonic)."""
        number = len(self.registries)

        def trusted(seen: dict[str, Any]) -> bool:
            status = seen[self.world.name].get("status") or {}
            return bool(status.get("summary") == f"{number}/{number}")

        return await until(self.world.kube, kinds.NODE_TRUST, None, trusted, within=within)


@contextlib.asynccontextmanager
async def place(number: int) -> AsyncIterator[Place]:
    """A place with so many registries.

    Each has a name, an address and an entry of its own, as the agent sees it; behind them all is one server, with TLS.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        directory = Path(name)
        with api_server(directory / "control-plane") as control_plane, NodeContainerd(directory / "node") as node:
            async with Kube(credentials(control_plane)) as kube:
                world = World(control_plane, kube, node, directory)
                await world.set_up()
                addresses = [world.next_address() for _ in range(number)]
                certificate = a_certificate(addresses)
                tls = (directory / "tls.crt", directory / "tls.key")
                tls[0].write_text(certificate.cert_pem)
                tls[1].write_text(certificate.key_pem)
                with RegistryServer(directory / "registry", tls=tls, address="0.0.0.0", port=names.PORT) as server:
                    registries = []
                    for each, address in enumerate(addresses):
                        registry = a_registry({"auth": {"mode": "None"}}, name=f"team-{each}")
                        built = publish.build(
                            registry, cluster_ips=[address], ca_bundle=certificate.ca_pem, rules=RULES
                        )
                        registries.append(Served(registry, server, built.entry))
                        await world.publish(registries[-1])
                    yield Place(world, control_plane, registries, a_certificate(["another"]).ca_pem)
