"""The cluster's CA in its Secret, and how one takes over from the last: the only writer of that Secret.

Every registry tells its nodes and its people of each CA in the Secret. Before the next one signs anything, every node
has confirmed that it has it; before the last one is forgotten, nobody serves a certificate of it any more.
"""

import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from private_registry import pki
from private_registry.api import names
from private_registry.controller import events, metrics
from private_registry.controller.fleet import authorities
from private_registry.controller.fleet.authorities import Authorities
from private_registry.controller.health import confirmation, rollout
from private_registry.controller.registries.certificate import Chance, read_certificate
from private_registry.controller.settings import Settings
from private_registry.controller.world import OURS, World, registry_key
from private_registry.kube import kinds
from private_registry.kube.client import Kube
from private_registry.trust import entry as trust
from private_registry.trust import publish

Object = dict[str, Any]

logger = logging.getLogger(__name__)

CA_SECRET: Final = "private-registry-ca"  # noqa: S105


class Succession:
    """The CA and its rotations. The Secret alone is remembered."""

    def __init__(self, kube: Kube, settings: Settings, chance: Chance) -> None:
        self._kube = kube
        self._settings = settings
        self._chance = chance
        self._said = ""
        self.authorities: Authorities | None = None
        """As they were last read or written."""

    async def look(self) -> Object:
        """Read the Secret, or make it with a CA. Raises CertificateError when it cannot be read."""
        live = await self._kube.get(kinds.SECRET, self._settings.namespace, CA_SECRET)
        if live is None:
            made = pki.create_authority(self._chance.key(), serial=self._chance.serial(), now=datetime.now(UTC))
            metrics.WRITES.labels("create", "Secret").inc()
            live = await self._kube.create(ca_secret(Authorities(made), self._settings.namespace))
            logger.info("made the cluster's CA", extra={"secret": f"{self._settings.namespace}/{CA_SECRET}"})
        self.authorities = authorities.read(live)
        return live

    async def step(self, world: World, entries: Mapping[str, Object]) -> Authorities:
        """Take the next step of a rotation if it is time; returns the authorities as they are then.

        `entries` are the published ones by registry; they and the world are fresh.
        """
        live = await self.look()
        assert self.authorities
        now, known = datetime.now(UTC), self.authorities
        if known.is_due(now):
            why = "its time has come" if known.asked == known.done else f"{names.ROTATE_CA} asks for it"
            text = f"a next CA is made ({why}): every node is told of it before it signs anything"
            return await self._write(live, known, known.begun(now, self._chance), "CARotationStarted", text)
        if known.upcoming:
            waits = list(_untold(known.upcoming, world, entries, now))
            if not waits:
                text = "every node has the next CA: certificates come from it from now on"
                return await self._write(live, known, known.promoted(), "CARotationServing", text)
            self._log("the next CA waits", waits)
        elif known.previous:
            waits = [key async for key in self._serving_others(known.current, world)]
            if not waits:
                text = "no registry serves a certificate of the last CA any more: it is trusted no longer"
                return await self._write(live, known, known.ended(), "CARotationDone", text)
            self._log("the last CA is still needed", waits)
        return known

    async def _write(
        self, live: Object, before: Authorities, after: Authorities, reason: str, text: str
    ) -> Authorities:
        """Change the Secret that was read, all at once. Raises ConflictError when it is another by now."""
        patch = authorities.changes(before, after)
        version = {"resourceVersion": live["metadata"]["resourceVersion"]}
        patch["metadata"] = {**patch.get("metadata", {}), **version}
        metrics.WRITES.labels("merge", "Secret").inc()
        await self._kube.merge(kinds.SECRET, self._settings.namespace, CA_SECRET, patch)
        self.authorities = after
        logger.info("rotation of the CA: %s", text)
        about = {key: live["metadata"][key] for key in ("name", "namespace", "uid")}
        events.post({"apiVersion": "v1", "kind": "Secret", "metadata": about}, reason=reason, message=text)
        return after

    def _log(self, what: str, waits: list[str]) -> None:
        """Say what is waited for when that changes."""
        if (said := f"{what}: {'; '.join(waits[:10])}") != self._said:
            self._said = said
            logger.info("%s", said)

    async def _serving_others(self, authority: pki.Authority, world: World) -> AsyncIterator[str]:
        """Registries whose pods have, or may yet have, a certificate of another CA of ours."""
        listing = await self._kube.list(kinds.POD, labels=f"{OURS},{names.COMPONENT}=registry")
        pods: dict[str, list[Object]] = {}
        for pod in listing.items:
            pods.setdefault(registry_key(pod) or "", []).append(pod)
        for key in _managed(world):
            namespace, _, name = key.partition("/")
            secret = await self._kube.get(kinds.SECRET, namespace, names.certificate_secret(name))
            certificate = read_certificate(secret) if secret else None
            if certificate is None:
                continue
            fingerprint = pki.fingerprint(certificate.cert_pem)
            others = [pod for pod in pods.get(key, ()) if not rollout.was_started_with(pod, fingerprint)]
            if certificate.ca_pem != authority.cert_pem or others:
                yield key


def _managed(world: World) -> Iterator[str]:
    """The registries that have their certificates from the operator's CA."""
    for key, body in sorted(world.registries.items()):
        mode = ((body.get("spec") or {}).get("tls") or {}).get("mode", "Managed")
        if mode == "Managed" and not body["metadata"].get("deletionTimestamp"):
            yield key


def _untold(authority: pki.Authority, world: World, entries: Mapping[str, Object], now: datetime) -> Iterator[str]:
    """What keeps a CA from signing, for each registry that nodes know."""
    for key in _managed(world):
        if (config_map := entries.get(key)) is None:
            continue
        try:
            told = trust.parse(config_map).ca_bundle
            found = confirmation.of(key, config_map, world, now)
        except trust.EntryInvalidError:
            told, found = "", confirmation.Confirmation()
        if not set(publish.blocks(authority.cert_pem)) <= set(publish.blocks(told)):
            yield f"{key}: its entry does not have it yet"
        elif not found.settled:
            yield f"{key}: {', '.join(found.waited[:10]) or 'everybody has a moment to hear of it'}"


def ca_secret(known: Authorities, namespace: str) -> Object:
    """The Secret, in the form that other tools know."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": CA_SECRET, "namespace": namespace, "labels": dict(names.OPERATOR_LABELS)},
        "type": "kubernetes.io/tls",
        "data": authorities.contents(known),
    }
