"""Namespaces beside that of a registry, and what pods find there."""

import itertools
import json
from dataclasses import replace
from typing import Any

from private_registry.api import names
from private_registry.distribution import Registry
from private_registry.kube import kinds
from tests.integration.container import content
from tests.integration.operator.parts.cluster import Cluster

Object = dict[str, Any]

_number = itertools.count(1)


class Elsewhere:
    """For the registry `team` of a test's own namespace."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.label = f"test-{next(_number)}"
        self.made: list[str] = []

    @property
    def selector(self) -> Object:
        return {"matchLabels": {"for": self.label}}

    async def add(self, *, selected: bool = True) -> str:
        """A new namespace."""
        name = f"elsewhere-{next(_number)}"
        labels = {"for": self.label} if selected else {}
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
        await self.cluster.kube.create(body)
        self.made.append(name)
        return name

    async def set_label(self, namespace: str, value: str | None) -> None:
        await self.cluster.kube.merge(kinds.NAMESPACE, None, namespace, {"metadata": {"labels": {"for": value}}})

    @property
    def pull_secret(self) -> str:
        return names.pull_secret_copy(self.cluster.namespace, "team")

    @property
    def ca(self) -> str:
        return names.ca_copy(self.cluster.namespace, "team")

    async def login(self, namespace: str) -> tuple[str, str]:
        """What a kubelet takes from the pull secret. Raises AssertionError when there is none."""
        return self.login_in(await self.cluster.get(kinds.SECRET, self.pull_secret, namespace))

    def login_in(self, secret: Object) -> tuple[str, str]:
        """Raises KeyError when there is none for the name that images have."""
        auths = json.loads(content(secret)[".dockerconfigjson"])["auths"]
        auth = auths[f"team.{self.cluster.namespace}.svc:{names.PORT}"]
        username, _, password = content({"kind": "Secret", "data": auth})["auth"].decode().partition(":")
        return username, password

    async def until_there(self, *namespaces: str) -> None:
        for namespace in namespaces:
            await self.cluster.until(lambda: self.login(namespace), what=f"{namespace} has the pull secret")  # noqa: B023

    async def until_gone(self, *namespaces: str) -> None:
        for namespace in namespaces:
            await self.cluster.until_gone(kinds.SECRET, self.pull_secret, namespace)

    async def attached(self, namespace: str, account: str = "default") -> list[str]:
        """The imagePullSecrets of a ServiceAccount."""
        found = await self.cluster.get(kinds.SERVICE_ACCOUNT, account, namespace)
        return [each["name"] for each in found.get("imagePullSecrets") or []]

    async def until_attached(self, namespace: str, *expected: str, account: str = "default") -> None:
        async def there() -> bool:
            assert await self.attached(namespace, account) == list(expected)
            return True

        await self.cluster.until(there, what=f"{account} in {namespace} has {expected}")

    async def account(self, namespace: str, name: str, *secrets: str) -> None:
        """A ServiceAccount with imagePullSecrets that are somebody else's."""
        about = {"name": name, "namespace": namespace}
        body = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": about}
        await self.cluster.kube.create({**body, "imagePullSecrets": [{"name": each} for each in secrets]})


def closed(**asked: Any) -> Object:
    return {"auth": {"anonymousPull": False, "pullSecret": asked}}


async def doors(cluster: Cluster) -> tuple[Registry, Registry]:
    """The registry's own port and the one for those who only pull, for who has no credential."""
    own = replace(await cluster.http(), login=None)
    return own, replace(own, port=names.PULL_PORT)


async def port_of_nodes(cluster: Cluster) -> int:
    return int(json.loads((await cluster.entry())["data"]["entry.json"])["port"])
