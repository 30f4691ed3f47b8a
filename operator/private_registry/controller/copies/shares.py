"""What other namespaces are to have of a registry, and which of them. Pure.

The registry loop makes the Secret and the ConfigMap beside the registry, and changes the Secret only to what the
registry accepts. Copies follow these two: as long as one is on its way, the copies of it stay as they are.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from private_registry.api import names
from private_registry.api.conditions import Reason
from private_registry.api.registry import Copies, PrivateRegistry
from private_registry.controller.health.problem import Concern, Problem
from private_registry.controller.registries.drift import drifted, is_ours, stamped
from private_registry.kube import kinds
from private_registry.kube.kinds import Kind
from private_registry.kube.writes import Apply, Create, Delete, Write
from private_registry.registry.certificates import CA_KEY, ca_copy
from private_registry.registry.credentials import DOCKER_CONFIG, pull_secret_copy

Object = dict[str, Any]

MOST = 1000
"""Namespaces that get something of one registry."""


@dataclass(frozen=True)
class Share:
    """One of the things that a registry gives away."""

    kind: Kind
    name: str
    """Of every copy."""
    content: str = field(default="", repr=False)
    namespaces: tuple[str, ...] = ()
    """Those that are to have it; where else it may be, it goes."""
    held: tuple[str, ...] = ()
    """Those that may have it."""
    accounts: tuple[str, ...] = ()
    """ServiceAccounts in these that are to have it among their imagePullSecrets."""
    attached: tuple[str, ...] = ()
    """Those that may have it there."""
    waits: bool = False
    """Whether what is to be copied, or is not any more, is on its way: until it has arrived nothing is changed."""
    problem: Problem | None = None

    @property
    def everywhere(self) -> tuple[str, ...]:
        """Where there is something to be seen to; in each of them it is noted that it may be there."""
        return self.held if self.waits else tuple(sorted({*self.namespaces, *self.held}))

    @property
    def all_accounts(self) -> tuple[str, ...]:
        return self.attached if self.waits else tuple(dict.fromkeys([*self.accounts, *self.attached]))


def concerns(body: Object) -> bool:
    """Whether there may be anything to do for a registry, as the API server gives it."""
    spec, copies = body.get("spec") or {}, (body.get("status") or {}).get("copies") or {}
    asked = ((spec.get("auth") or {}).get("pullSecret"), (spec.get("tls") or {}).get("caDistribution"))
    held = (copies.get("pullSecretNamespaces"), copies.get("caNamespaces"))
    return any(each is not None for each in asked) or any(held)


def pull_secret(registry: PrivateRegistry, source: Object | None, namespaces: Mapping[str, Object]) -> Share:
    """The pull secret; `source` is what is beside the registry under its name, `namespaces` are all that there are."""
    copies, asked = registry.status.copies, registry.spec.auth.pull_secret
    share = Share(
        kinds.SECRET,
        names.pull_secret_copy(registry.namespace, registry.name),
        held=copies.pull_secret_namespaces,
        attached=copies.service_accounts,
    )
    source = _of(registry, source)
    wanted = registry.has_pull_user and not registry.deleting
    if not registry.deleting and wanted != (source is not None):
        return replace(share, waits=True)
    if asked is None or source is None or not wanted:
        return share
    share = replace(share, content=source["data"][DOCKER_CONFIG], accounts=asked.service_accounts)
    return _to(share, asked.selects, namespaces)


def ca(registry: PrivateRegistry, source: Object | None, namespaces: Mapping[str, Object]) -> Share:
    """The CA, likewise."""
    name = names.ca_copy(registry.namespace, registry.name)
    share = Share(kinds.CONFIG_MAP, name, held=registry.status.copies.ca_namespaces)
    asked, source = registry.spec.tls.ca_distribution, _of(registry, source)
    if asked is None or not registry.shares_ca or registry.deleting:
        return share
    if source is None:
        # One that is brought may have no CA of its own: nodes and people go by the roots that they have.
        on_its_way = registry.spec.tls.mode == "Managed" or bool(registry.status.ca_config_map_name)
        return replace(share, waits=on_its_way)
    selector = asked.namespace_selector
    return _to(replace(share, content=source["data"][CA_KEY]), lambda _, labels: selector.matches(labels), namespaces)


def _of(registry: PrivateRegistry, source: Object | None) -> Object | None:
    return source if source and is_ours(source, registry.uid) else None


def _to(share: Share, selects: Callable[[str, Mapping[str, str]], bool], namespaces: Mapping[str, Object]) -> Share:
    found = [
        name
        for name, each in namespaces.items()
        if selects(name, each["metadata"].get("labels") or {}) and not _is_going(each)
    ]
    # Those that have it keep it, whatever is added.
    chosen = sorted(found, key=lambda name: (name not in share.held, name))[:MOST]
    problem = None
    if len(found) > MOST:
        problem = Problem(
            Reason.TOO_MANY_NAMESPACES,
            f"{len(found)} namespaces are selected for {share.name}, and {MOST} get it: select fewer",
            Concern.COPIES,
        )
    return replace(share, namespaces=tuple(sorted(chosen)), problem=problem)


def _is_going(namespace: Object) -> bool:
    return bool(namespace["metadata"].get("deletionTimestamp"))


def noted(before: Copies, both: tuple[Share, Share]) -> Copies:
    """What has to be in the status before anything is written elsewhere: where there may be a copy from then on."""
    pull, ca_share = both
    return before.model_copy(
        update={
            "pull_secret_namespaces": pull.everywhere,
            "service_accounts": pull.all_accounts,
            "ca_namespaces": ca_share.everywhere,
        }
    )


def decide(registry: PrivateRegistry, share: Share, namespace: str, live: Object | None) -> Write | Problem | None:
    """What is to be done with the copy in one namespace, where `live` has its name."""
    if live is not None and not _is_copy(live, registry):
        text = (
            f"there is a {share.kind.kind} {share.name} in namespace {namespace} that is no copy of this registry's; "
            "rename or delete it"
        )
        return Problem(Reason.NAME_TAKEN, text, Concern.COPIES) if namespace in share.namespaces else None
    if namespace not in share.namespaces:
        return Delete(live) if live else None
    make = pull_secret_copy if share.kind is kinds.SECRET else ca_copy
    desired = stamped(make(registry, namespace, share.content))
    if live is None:
        return Create(desired)
    return Apply(desired, live) if drifted(desired, live) else None


def _is_copy(live: Object, registry: PrivateRegistry) -> bool:
    """Whether it was made for a registry of this name, be it an earlier one."""
    expected = names.copy_labels(registry.namespace, registry.name, registry.uid)
    labels = live["metadata"].get("labels") or {}
    return all(labels.get(key) == value for key, value in expected.items() if key != names.REGISTRY_UID)


def attachment(account: Object, name: str, *, wanted: bool) -> Object | None:
    """The merge patch by which a ServiceAccount has the pull secret or no longer; None where it is so.

    The list is one value to the API server (listType atomic): whoever changes an item writes all of them, and only if
    nobody else has meanwhile.
    """
    items = account.get("imagePullSecrets") or []
    if any(item.get("name") == name for item in items) == wanted:
        return None
    others = [item for item in items if item.get("name") != name]
    version = {"resourceVersion": account["metadata"]["resourceVersion"]}
    return {"metadata": version, "imagePullSecrets": [*others, {"name": name}] if wanted else others or None}
