"""The names that operator, agents, manifests and users share: API group, labels, annotations, children.

Every name of a child is derived here and nowhere else, so that two rooms can never disagree about one.
"""

from typing import Final

GROUP: Final = "privateregistry.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"

OPERATOR_NAMESPACE: Final = "private-registry-system"
AGENTS_NAMESPACE: Final = "private-registry-nodes"

FINALIZER: Final = f"{GROUP}/nodes-trust-it"
"""On a PrivateRegistry from before its first child exists until every node has undone its trust."""

PORT: Final = 5000
"""Where a registry serves, in its pod, in its Service and in every name of it."""
DEBUG_PORT: Final = 5001
"""Metrics and the registry's own health; never in the Service."""
PULL_PORT: Final = 5002
"""Where nodes pull from a registry whose other port asks for credentials; it takes no write. No image has it in its
name."""
PULL_DEBUG_PORT: Final = 5003
"""As DEBUG_PORT, of the process that serves pulls."""
SPACE_PORT: Final = 5004
"""How full the volume is; never in the Service."""
SWEEP_PORT: Final = 5005
"""Where a sweep hands over its list, in its own pod."""

MANAGED_BY: Final = "app.kubernetes.io/managed-by"
MANAGER: Final = "private-registry-operator"
PART_OF: Final = "app.kubernetes.io/part-of"
INSTANCE: Final = "app.kubernetes.io/instance"
COMPONENT: Final = "app.kubernetes.io/component"
AGENTS: Final = ("agent", "managing-agent")
"""Values of COMPONENT: an agent, and one that may configure its node's containerd."""
OPERATOR_LABELS: Final = {PART_OF: MANAGER, MANAGED_BY: MANAGER}
"""Labels of what belongs to the operator and to no registry."""
REGISTRY_UID: Final = f"{GROUP}/registry-uid"
"""Label of every child: the uid of the PrivateRegistry it belongs to. Without it an object is not ours."""
REGISTRY_NAMESPACE: Final = f"{GROUP}/registry-namespace"
"""Label of what lives in another namespace than its registry: a trust entry, a copy."""

APPLIED: Final = f"{GROUP}/applied"
"""Annotation: hash of the object as we last applied it."""
TEMPLATE: Final = f"{GROUP}/template"
"""Annotation of a Deployment: hash of the pod template that we asked for."""
ROLLED_OUT_FOR: Final = f"{GROUP}/rolled-out-for"
"""Annotation of a Deployment: `spec` when its owner asked for the last rollout, `upgrade` when a new operator did."""
STAGED: Final = f"{GROUP}/staged"
"""Annotation of a Deployment whose pods are to be followed by others once every node pulls from another port."""
ASKED: Final = f"{GROUP}/asked"
"""Annotation of a Deployment: hash of what its owner asks of its pods, by which the two are told apart."""
READ_ONLY: Final = f"{GROUP}/read-only"
"""Annotation of a registry's pod that takes no writes."""
GIVEN_UP: Final = f"{GROUP}/given-up"
"""Annotation of a Job that is to do no more: why."""
CERTIFICATE: Final = f"{GROUP}/certificate"
"""Annotation of a registry's pod: fingerprint of the certificate that it was started with."""

ROTATE: Final = f"{GROUP}/rotate-credentials"
"""Annotation of a PrivateRegistry: with another value than before, the generated credential is replaced."""
COLLECT: Final = f"{GROUP}/collect-garbage"
"""Annotation of a PrivateRegistry: with another value than before, garbage is collected. Of the Job: that value."""
COLLECT_DRY_RUN: Final = f"{GROUP}/collect-garbage-dry-run"
"""Likewise, to be told what a collection would give back."""
SWEEP: Final = f"{GROUP}/sweep"
"""Annotation of a PrivateRegistry: with another value than before, a sweep begins."""
SWEPT_BY: Final = f"{GROUP}/swept-by"
"""Annotation of the ConfigMap with the list of a sweep: uid of its Job."""
COLLECTED_BY: Final = f"{GROUP}/collected-by"
"""Annotation of the ConfigMap with the images in use: uid of the Job of the collection that it is for."""
LONGEST_REQUEST: Final = 64
"""Characters of its value that are looked at."""
ROTATE_CA: Final = f"{GROUP}/rotate-ca"
"""Annotation of the Secret with the cluster's CA: with another value than before, the CA is replaced."""
ROTATED_FOR: Final = f"{GROUP}/rotated-for"
"""Annotation of a htpasswd Secret, and of the CA's: the value that was last seen to."""
PULL_ROTATED_FOR: Final = f"{GROUP}/pull-rotated-for"
"""As ROTATED_FOR, of the credential that only pulls."""
LEAVING: Final = f"{GROUP}/leaving"
"""Annotation of a htpasswd Secret: user names that were replaced, and until when they are still good (JSON)."""

SINCE: Final = f"{GROUP}/since"
"""Annotation of a trust entry: when it became what it is, if that was after it was created."""
AS_GOOD: Final = f"{GROUP}/as-good"
"""Annotation of a trust entry: hash of the one before, which differs in its CAs only, a `/`, and the fingerprint of the
certificate that nodes of either of them believe."""

RUNTIME_CONFIG: Final = f"{GROUP}/runtime-config"
MANAGE: Final = "manage"
"""Label of a Node, and its value, by which the administrator lets the agent configure the node's containerd."""

COMPLETE: Final = "complete"
"""Name of the marker ConfigMap without which an agent undoes nothing."""


def selector(name: str) -> dict[str, str]:
    """Labels that select a registry's pods; immutable in a Deployment, so never to be extended."""
    return {PART_OF: MANAGER, COMPONENT: "registry", INSTANCE: name}


def labels(name: str, uid: str) -> dict[str, str]:
    """Labels of every child of the registry of that name and uid."""
    return {**selector(name), MANAGED_BY: MANAGER, REGISTRY_UID: uid}


def claim(name: str) -> str:
    return f"{name}-data"


def ca_config_map(name: str) -> str:
    return f"{name}-ca"


def certificate_secret(name: str) -> str:
    """What the registry's pod serves with: issued by the operator (tls.mode: Managed), or a checked copy (Secret).

    Not `-tls`: that is what people call the Secret that they bring.
    """
    return f"{name}-certificate"


def credentials_secret(name: str) -> str:
    """What people and builds push with: generated once, theirs to read and to replace."""
    return f"{name}-credentials"


def pull_secret(name: str) -> str:
    """What pods pull with where pulling takes a credential: generated, and copied from here into their namespaces."""
    return f"{name}-pull"


def pull_secret_copy(namespace: str, name: str) -> str:
    """The same in every namespace that it is copied to. By dots, so that no two registries ever share one."""
    return f"{namespace}.{name}.pull"


def ca_copy(namespace: str, name: str) -> str:
    """Likewise, of the ConfigMap with the CA."""
    return f"{namespace}.{name}.ca"


def copy_labels(namespace: str, name: str, uid: str) -> dict[str, str]:
    """Labels of a copy. Not PART_OF: nothing watches what may be in a thousand namespaces."""
    return {MANAGED_BY: MANAGER, INSTANCE: name, REGISTRY_NAMESPACE: namespace, REGISTRY_UID: uid}


def htpasswd_secret(name: str) -> str:
    """Who may do what, as the registry's pod reads it."""
    return f"{name}-htpasswd"


def configuration(name: str) -> str:
    """The Secret with the files that the registry's processes are configured by."""
    return f"{name}-config"


def collection_job(name: str) -> str:
    return f"{name}-collection"


def in_use(name: str) -> str:
    """The ConfigMap with the images of this registry that the cluster uses, for the collection that is under way."""
    return f"{name}-in-use"


def sweep(name: str) -> str:
    """The Job that finds out what retention lets go, and deletes it where that was asked for."""
    return f"{name}-sweep"


def images(name: str) -> str:
    """The ConfigMap with a sweep's orders: the rules, and the images of this registry that the cluster uses."""
    return f"{name}-images"


def retention(name: str) -> str:
    """The ConfigMap with what came of the last sweep, tag by tag."""
    return f"{name}-retention"


def entry(namespace: str, name: str) -> str:
    """Name of a registry's trust entry. Namespaces and names hold no dot, so two registries never share one."""
    return f"entry.{namespace}.{name}"


def registry_of_entry(entry_name: str) -> tuple[str, str] | None:
    """(namespace, name) that a trust entry's name speaks for; None when it is no such name.

    A ConfigMap's name may have longer parts than a namespace or a registry, and no status could hold such a key.
    """
    parts = entry_name.split(".")
    if len(parts) != 3 or parts[0] != "entry" or not all(1 <= len(part) <= 63 for part in parts):
        return None
    return parts[1], parts[2]


def key(namespace: str, name: str) -> str:
    """How a registry is named in a NodeTrust and in a log: `namespace/name`."""
    return f"{namespace}/{name}"
