"""The agents as the operator sees them: their DaemonSet's pods, and what they report in NodeTrusts.

Each writes its row before it would write its node's files, and drops it after it would have removed them. What real
agents do on a real node is another test's.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from private_registry.api import names
from private_registry.api.nodetrust import NodeTrustStatus, RegistryTrust
from private_registry.kube import kinds
from private_registry.kube.client import Kube, NotFoundError
from private_registry.trust import entry as trust
from private_registry.trust.reasons import TRUSTED, Reason, Verdict
from tests.integration.operator.parts.mirror import Mirror

AGENT_PODS: Final = f"{names.COMPONENT}=agent,{names.PART_OF}={names.MANAGER}"


class Agents:
    """One per node, all of one will."""

    def __init__(self, mirror: Mirror, kube: Kube, namespace: str) -> None:
        self.verdicts: dict[str, Verdict] = {}
        """What a node says of every registry; a node that is not in it trusts them all."""
        self.silent: set[str] = set()
        """Nodes that hear and say nothing."""
        self._unready: set[str] = set()
        self._mirror = mirror
        self._kube = kube
        self._namespace = namespace
        self._pods = mirror.follow(kinds.POD, namespace, labels=AGENT_PODS)
        self._config_maps = mirror.follow(kinds.CONFIG_MAP, namespace)
        self._node_trusts = mirror.follow(kinds.NODE_TRUST)
        self._nodes = mirror.follow(kinds.NODE)
        self._bound: set[str] = set()

    async def run(self) -> None:
        while True:
            tick = self._mirror.tick
            for pod in list(self._pods.objects.values()):
                await self._keep(pod)
            for node in list(self._node_trusts.objects.values()):
                if node["metadata"]["name"] in self._nodes.objects.keys() - self.silent:
                    await self._report(node)
            await tick.wait()

    def say(self, node: str, reason: Reason, message: str) -> None:
        """Let a node say this of every registry from now on."""
        self.verdicts[node] = Verdict(reason, message)
        self._mirror.changed()

    def agree(self, node: str) -> None:
        """Let a node trust every registry again, and speak if it was silent."""
        self.verdicts.pop(node, None)
        self.silent.discard(node)
        self._mirror.changed()

    def set_ready(self, node: str, *, ready: bool) -> None:
        """Let the agent's pod on a node be ready, or no longer."""
        (self._unready.discard if ready else self._unready.add)(node)
        self._mirror.changed()

    def entry_on(self, node: str, namespace: str, name: str) -> trust.Entry | None:
        """The entry of a registry once the node says that it goes by it; None as long as it goes by an earlier one."""
        config_map = self._config_maps.objects.get(names.entry(namespace, name))
        said = (self._node_trusts.objects[node].get("status") or {}).get("registries") or []
        confirmed = {row["registry"]: row["entryHash"] for row in said}.get(names.key(namespace, name))
        if config_map is None or confirmed != trust.hash_of(trust.data_of(config_map)):
            return None
        return trust.parse(config_map)

    async def _keep(self, pod: dict[str, Any]) -> None:
        """Do for an agent's pod what scheduler and kubelet would: bind it, say whether it is ready, let it go."""
        metadata = pod["metadata"]
        path = kinds.POD.path(self._namespace, metadata["name"])
        try:
            if "deletionTimestamp" in metadata:
                await self._kube._call("DELETE", path, body={"gracePeriodSeconds": 0})
                return
            node = _node_of(pod)
            if metadata["uid"] not in self._bound and not pod["spec"].get("nodeName"):
                target = {"apiVersion": "v1", "kind": "Node", "name": node}
                about = {key: metadata[key] for key in ("name", "namespace")}
                body = {"apiVersion": "v1", "kind": "Binding", "metadata": about, "target": target}
                await self._kube._call("POST", f"{path}/binding", body=body)
            self._bound.add(metadata["uid"])
            ready = "False" if node in self._unready else "True"
            conditions = [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": ready}]
            if not any(each.items() >= conditions[1].items() for each in pod["status"].get("conditions") or []):
                body = {"status": {"phase": "Running", "conditions": conditions}}
                await self._kube.merge(kinds.POD, self._namespace, metadata["name"], body, subresource="status")
        except NotFoundError:
            return

    async def _report(self, node: dict[str, Any]) -> None:
        said = NodeTrustStatus.model_validate(node.get("status") or {})
        verdict = self.verdicts.get(node["metadata"]["name"], TRUSTED)
        before = {row.registry: (row.entry_hash, row.reason, row.message) for row in said.registries}
        wanted = dict(self._entries(node["spec"]["nodeLabels"], before))
        if names.COMPLETE not in self._config_maps.objects:
            wanted |= {row.registry: row.entry_hash for row in said.registries if row.registry not in wanted}
        after = {key: (entry_hash, str(verdict.reason), verdict.message) for key, entry_hash in wanted.items()}
        if after == before:
            return
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        rows = tuple(
            RegistryTrust(
                registry=key,
                entry_hash=entry_hash,
                trusted=verdict.trusted,
                reason=verdict.reason,
                message=verdict.message,
                last_transition_time=now,
            )
            for key, entry_hash in sorted(wanted.items())
        )
        total, trusted = len(rows), sum(row.trusted for row in rows)
        status = NodeTrustStatus(total=total, trusted=trusted, summary=f"{trusted}/{total}", registries=rows)
        body = {"status": status.model_dump(mode="json", by_alias=True)}
        try:
            await self._kube.merge(kinds.NODE_TRUST, None, node["metadata"]["name"], body, subresource="status")
        except NotFoundError:
            return

    def _entries(
        self, node_labels: dict[str, str], said: Mapping[str, tuple[str, str, str]]
    ) -> Iterator[tuple[str, str]]:
        """Registries that a node is to trust, with the hash of the entry that it goes by."""
        for name, config_map in self._config_maps.objects.items():
            if not (registry := names.registry_of_entry(name)):
                continue
            try:
                if trust.parse(config_map).selects(node_labels):
                    yield names.key(*registry), trust.hash_of(trust.data_of(config_map))
            except trust.EntryInvalidError:
                # What it does not understand changes nothing.
                if (key := names.key(*registry)) in said:
                    yield key, said[key][0]


def _node_of(pod: dict[str, Any]) -> str:
    """The node that the DaemonSet made the pod for."""
    terms = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    (name,) = terms["nodeSelectorTerms"][0]["matchFields"][0]["values"]
    return str(name)
