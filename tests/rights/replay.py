"""What the requests of an audit log needed of the installation's rights, by the API server's own word.

Beside each request it notes whether RBAC allowed it, and by which role. Whose request it was makes no difference then:
what an administrator did by rights of his own uses none of ours.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from private_registry.kube import kinds
from tests.contract.documents import Object
from tests.rights.granted import Grants, Right

_BY_ROLE = re.compile(r'^RBAC: allowed by .* of ((?:Cluster)?Role) "([^"]+)" to ')
_ACCOUNT = re.compile(r"^system:serviceaccount:([^:]+):([^:]+)$")


@dataclass(frozen=True)
class Seen:
    """What came out."""

    used: frozenset[Right]
    missing: frozenset[str]
    """What an account of ours asked for and no role of it grants, in words."""


def replay(events: Iterable[Object], grants: Grants) -> Seen:
    """Go through the `audit.k8s.io/v1` events of any level."""
    used: set[Right] = set()
    missing: set[str] = set()
    for event in events:
        decision = event.get("annotations", {}).get("authorization.k8s.io/decision")
        if decision == "allow":
            used |= grants.rights.intersection(_needed(event, grants))
        elif decision == "forbid":
            missing |= set(_missing(event, grants))
    return Seen(frozenset(used), frozenset(missing))


def _needed(event: Object, grants: Grants) -> Iterator[Right]:
    by_role = _BY_ROLE.match(event["annotations"].get("authorization.k8s.io/reason", ""))
    if not by_role or "objectRef" not in event:
        return
    role = " ".join(by_role.groups())
    for part in grants.parts.get(role, {role}):
        yield Right(part, *_asked(event))
        if event["verb"] == "create":
            yield from _for_owners(part, event)


def _for_owners(role: str, event: Object) -> Iterator[Right]:
    """What the admission plugin OwnerReferencesPermissionEnforcement asked RBAC for beside: that is not logged."""
    owners = event.get("requestObject", {}).get("metadata", {}).get("ownerReferences", ())
    for owner in owners:
        if owner.get("blockOwnerDeletion") and event["responseStatus"]["code"] < 400:
            kind = kinds.of(owner)
            yield Right(role, kind.group, f"{kind.plural}/finalizers", "update")


def _missing(event: Object, grants: Grants) -> Iterator[str]:
    account = _ACCOUNT.match(event["user"]["username"])
    if not account or account[2] not in grants.accounts:
        return
    namespace = event.get("objectRef", {}).get("namespace", "")
    for role in grants.accounts[account[2]]:
        # A Role of ours is in its account's own namespace. What is granted and was refused had not been installed yet,
        # or no longer was.
        in_force = role.startswith("ClusterRole ") or namespace == account[1]
        if in_force and "objectRef" in event and Right(role, *_asked(event)) in grants.rights:
            return
    yield f"{account[2]}: {event['verb']} {event['requestURI'].partition('?')[0]}"


def _asked(event: Object) -> tuple[str, str, str]:
    """API group, resource and verb."""
    reference = event["objectRef"]
    resource = "/".join(reference[key] for key in ("resource", "subresource") if key in reference)
    return reference.get("apiGroup", ""), resource, event["verb"]
