"""An external provisioner and resizer: a directory for each claim of its classes, which is as large as the disk that it
is on, or a file system of its own. The real volume controller binds the two.
"""

import os
import subprocess
from pathlib import Path
from typing import Any, Final

from private_registry.api.quantity import parse_quantity
from private_registry.kube import kinds
from private_registry.kube.client import ConflictError, Kube
from private_registry.kube.kinds import Kind
from tests.integration.operator.parts.mirror import Mirror

VOLUME: Final = Kind("", "v1", "persistentvolumes", "PersistentVolume")

PROVISIONER: Final = "directories.test"
IS_DEFAULT: Final = "storageclass.kubernetes.io/is-default-class"
SELECTED_NODE: Final = "volume.kubernetes.io/selected-node"

STANDARD: Final = "standard"
"""The default one; binds when the pod is scheduled, and lets nothing grow, as kind's."""
GROWING: Final = "growing"
"""Binds at once and lets claims grow."""
ROOTS: Final = "roots"
"""Knows nothing of fsGroup: its directories are root's and stay so."""
SMALL: Final = "small"
"""File systems as small as they are asked for, which fill up and grow."""
FULL: Final = "full"
"""Has no room for anybody."""


def storage_classes() -> list[dict[str, Any]]:
    waiting = {"volumeBindingMode": "WaitForFirstConsumer"}
    return [
        _storage_class(STANDARD, **waiting, annotations={IS_DEFAULT: "true"}),
        _storage_class(GROWING, allowVolumeExpansion=True),
        _storage_class(SMALL, allowVolumeExpansion=True),
        _storage_class(ROOTS),
        _storage_class(FULL),
    ]


def _storage_class(name: str, *, annotations: dict[str, str] | None = None, **fields: Any) -> dict[str, Any]:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": name, "annotations": annotations or {}},
        "provisioner": PROVISIONER,
        # What a test leaves behind goes with its directory: nobody deletes volumes here.
        "reclaimPolicy": "Retain",
        **fields,
    }


class Provisioner:
    """Of the claims of one namespace."""

    def __init__(self, mirror: Mirror, kube: Kube, namespace: str, directory: Path) -> None:
        self._mirror = mirror
        self._kube = kube
        self._directory = directory
        self._classes = mirror.follow(kinds.STORAGE_CLASS)
        self._done: set[str] = set()
        self._mounted: list[Path] = []
        self.resizing_held = False
        """Whether what is to grow takes its time."""
        self.claims = mirror.follow(kinds.CLAIM, namespace)

    async def run(self) -> None:
        try:
            while True:
                tick = self._mirror.tick
                for claim in list(self.claims.objects.values()):
                    await self._see_to(claim)
                await tick.wait()
        finally:
            for directory in self._mounted:
                _unmount(directory)

    async def _see_to(self, claim: dict[str, Any]) -> None:
        uid = claim["metadata"]["uid"]
        if uid not in self._done and self._is_to_be_provisioned(claim):
            await (self._refuse if claim["spec"]["storageClassName"] == FULL else self._provision)(claim)
            self._done.add(uid)
        elif self._is_to_grow(claim):
            await self._grow(claim)

    def hold_resizing(self, held: bool) -> None:
        """Keep claims from growing, or let them."""
        self.resizing_held = held
        self._mirror.changed()

    def waits_for_pod(self, claim: dict[str, Any]) -> bool:
        """Whether the claim's class has the scheduler choose a node first."""
        storage_class = self._classes.objects.get(claim["spec"].get("storageClassName") or "") or {}
        return storage_class.get("volumeBindingMode") == "WaitForFirstConsumer"

    def _is_to_be_provisioned(self, claim: dict[str, Any]) -> bool:
        storage_class = self._classes.objects.get(claim["spec"].get("storageClassName") or "") or {}
        if storage_class.get("provisioner") != PROVISIONER or claim["spec"].get("volumeName"):
            return False
        return not self.waits_for_pod(claim) or SELECTED_NODE in (claim["metadata"].get("annotations") or {})

    def _is_to_grow(self, claim: dict[str, Any]) -> bool:
        storage_class = self._classes.objects.get(claim["spec"].get("storageClassName") or "") or {}
        has = ((claim.get("status") or {}).get("capacity") or {}).get("storage")
        wanted = claim["spec"]["resources"]["requests"]["storage"]
        return bool(
            storage_class.get("provisioner") == PROVISIONER and has and parse_quantity(wanted) > parse_quantity(has)
        )

    async def _grow(self, claim: dict[str, Any]) -> None:
        """As an external resizer does it: a condition while it is under way, the volume, then what the claim has."""
        metadata, wanted = claim["metadata"], claim["spec"]["resources"]["requests"]["storage"]
        status: dict[str, Any] = {"conditions": [{"type": "Resizing", "status": "True"}]}
        if not self.resizing_held:
            capacity = {"spec": {"capacity": {"storage": wanted}}}
            volume = await self._kube.merge(VOLUME, None, claim["spec"]["volumeName"], capacity)
            if (directory := Path(volume["spec"]["hostPath"]["path"])) in self._mounted:
                _mount(directory, wanted, "remount")
            status = {"capacity": {"storage": wanted}, "conditions": []}
        if not (claim["status"].items() >= status.items()):
            namespace, name = metadata["namespace"], metadata["name"]
            await self._kube.merge(kinds.CLAIM, namespace, name, {"status": status}, subresource="status")

    async def _provision(self, claim: dict[str, Any]) -> None:
        metadata = claim["metadata"]
        directory = self._directory / metadata["uid"]
        directory.mkdir(parents=True)
        if claim["spec"]["storageClassName"] == SMALL:
            _mount(directory, claim["spec"]["resources"]["requests"]["storage"])
            self._mounted.append(directory)
        volume = {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": f"pvc-{metadata['uid']}"},
            "spec": {
                "accessModes": claim["spec"]["accessModes"],
                "capacity": {"storage": claim["spec"]["resources"]["requests"]["storage"]},
                "claimRef": {key: metadata[key] for key in ("namespace", "name", "uid")}
                | {"apiVersion": "v1", "kind": "PersistentVolumeClaim"},
                "persistentVolumeReclaimPolicy": "Retain",
                "storageClassName": claim["spec"]["storageClassName"],
                "hostPath": {"path": str(directory)},
            },
        }
        try:
            await self._kube._call("POST", VOLUME.path(), body=volume)
        except ConflictError:
            return  # the look that led here was an old one

    async def _refuse(self, claim: dict[str, Any]) -> None:
        metadata = claim["metadata"]
        await self._kube.create(
            {
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": {"generateName": "full-", "namespace": metadata["namespace"]},
                "involvedObject": {
                    "apiVersion": "v1",
                    "kind": "PersistentVolumeClaim",
                    **{key: metadata[key] for key in ("namespace", "name", "uid")},
                },
                "type": "Warning",
                "reason": "ProvisioningFailed",
                "message": "no room for another directory",
                "source": {"component": PROVISIONER},
            }
        )

    async def directory(self, claim: dict[str, Any]) -> Path:
        """Where a bound claim's files are."""
        volume = await self._kube.get(VOLUME, None, claim["spec"]["volumeName"])
        assert volume
        return Path(volume["spec"]["hostPath"]["path"])


def _mount(directory: Path, size: str, *options: str) -> None:
    options = (*options, f"size={int(parse_quantity(size))}")
    subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", directory], check=True)


def _unmount(directory: Path) -> None:
    subprocess.run(["umount", "--lazy", directory], check=True)


def hand_over(directory: Path, claim: dict[str, Any], group: int) -> None:
    """Make a volume writable for the pod's fsGroup, as the kubelet does where the volume can be."""
    if claim["spec"].get("storageClassName") != ROOTS:
        os.chown(directory, 0, group)
        directory.chmod(0o2775)
