"""What the installation grants, with all of its options: each verb on each resource, by role."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from tests.contract.documents import OPTIONS, Object, installation

_AGGREGATED = "rbac.authorization.k8s.io/aggregate-to-"


@dataclass(frozen=True, order=True)
class Right:
    """One verb on one resource, which may be a subresource: `privateregistries/status`."""

    role: str
    """With its kind, as the API server names it: `ClusterRole private-registry-operator`."""
    group: str
    resource: str
    verb: str

    def __str__(self) -> str:
        return f"{self.role}: {self.verb} {'.'.join(filter(None, (self.resource, self.group)))}"


@dataclass(frozen=True)
class Grants:
    """All rights, and who has them."""

    rights: frozenset[Right]
    parts: Mapping[str, frozenset[str]]
    """Roles of ours that are part of a role of Kubernetes: of `ClusterRole edit`, say."""
    accounts: Mapping[str, frozenset[str]]
    """The roles of each ServiceAccount, which has at least one."""


@cache
def grants() -> Grants:
    """Read off what `kubectl apply -k` would apply."""
    return read([each for options in OPTIONS for each in installation(options)])


def read(objects: Iterable[Object]) -> Grants:
    """The grants among some objects."""
    rights: set[Right] = set()
    parts: dict[str, set[str]] = {}
    accounts: dict[str, set[str]] = {}
    for each in objects:
        name = f"{each['kind']} {each['metadata']['name']}"
        if each["kind"] in ("Role", "ClusterRole"):
            rights |= set(_rights(name, each["rules"]))
            for label in each["metadata"].get("labels", {}):
                if label.startswith(_AGGREGATED):
                    parts.setdefault(f"ClusterRole {label.removeprefix(_AGGREGATED)}", set()).add(name)
        elif each["kind"] in ("RoleBinding", "ClusterRoleBinding"):
            role = f"{each['roleRef']['kind']} {each['roleRef']['name']}"
            for subject in each["subjects"]:
                accounts.setdefault(subject["name"], set()).add(role)
    return Grants(
        frozenset(rights),
        {name: frozenset(found) for name, found in parts.items()},
        {name: frozenset(found) for name, found in accounts.items()},
    )


def _rights(role: str, rules: Iterable[Object]) -> Iterator[Right]:
    for rule in rules:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for verb in rule["verbs"]:
                    yield Right(role, group, resource, verb)
