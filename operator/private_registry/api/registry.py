"""The PrivateRegistry: what its owner asks for (spec) and what the operator saw (status).

The CRD in crds/ is the authority; a contract test holds these models against its schema, field by field.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from private_registry.api import names
from private_registry.api.collection import GarbageCollection, GarbageCollectionStatus
from private_registry.api.conditions import Condition
from private_registry.api.model import Model, Written
from private_registry.api.retention import Retention, RetentionStatus
from private_registry.api.selectors import LabelSelector, LabelValue, NamespaceName, ObjectName
from private_registry.api.storage import Storage, StorageStatus

MAX_PROBLEMS = 10
"""Nodes listed in a registry's status; their NodeTrust objects have them all."""


class SpecInvalidError(ValueError):
    """The object does not fit the models although the API server took it (an older CRD, say); says which field."""


Quantity = int | Annotated[str, Field(max_length=32)]


class CaDistribution(Model):
    """Which namespaces get the CA, for their build pods."""

    namespace_selector: LabelSelector


class Tls(Model):
    """How the registry's port is protected."""

    mode: Literal["Managed", "Secret", "Disabled"] = "Managed"
    secret_name: ObjectName | None = None
    ca_distribution: CaDistribution | None = None


class User(Model):
    """Someone who may push, by a kubernetes.io/basic-auth Secret of the registry's namespace."""

    secret_name: ObjectName


class PullSecretSpec(Model):
    """Where a credential goes that pulls and does nothing else."""

    namespaces: tuple[NamespaceName, ...] = Field(default=(), max_length=64)
    namespace_selector: LabelSelector | None = None
    service_accounts: tuple[ObjectName, ...] = Field(default=(), max_length=16)
    docker_nodes: bool = False

    def selects(self, namespace: str, labels: Mapping[str, str]) -> bool:
        """Whether this namespace gets the pull secret."""
        selector = self.namespace_selector
        return namespace in self.namespaces or (selector is not None and selector.matches(labels))


class Auth(Model):
    """Who has to show a credential, and for what."""

    mode: Literal["Basic", "None"] = "Basic"
    anonymous_pull: bool = True
    users: tuple[User, ...] = Field(default=(), max_length=64)
    pull_secret: PullSecretSpec | None = None
    acknowledge_plain_http: bool = Field(default=False, alias="acknowledgePlainHTTP")


class Service(Model):
    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = "ClusterIP"


class NodeTrustSpec(Model):
    """Which nodes trust the registry, and under which further names."""

    enabled: bool = True
    node_selector: dict[str, LabelValue] = Field(default_factory=dict, max_length=16)
    additional_hosts: tuple[Annotated[str, Field(max_length=259)], ...] = Field(default=(), max_length=16)


class Resources(Model):
    requests: dict[str, Quantity] = Field(default={"cpu": "100m", "memory": "128Mi"}, max_length=8)
    limits: dict[str, Quantity] = Field(default_factory=dict, max_length=8)


class PullSecret(Model):
    name: ObjectName


class Scheduling(Model):
    """Passed into the registry's pod as it is; the API server is its judge."""

    node_selector: dict[str, LabelValue] = Field(default_factory=dict, max_length=16)
    tolerations: tuple[dict[str, Any], ...] = Field(default=(), max_length=16)
    affinity: dict[str, Any] = Field(default_factory=dict)
    priority_class_name: str | None = Field(default=None, max_length=253)
    image_pull_secrets: tuple[PullSecret, ...] = Field(default=(), max_length=8)


class Spec(Model):
    storage: Storage = Storage()
    garbage_collection: GarbageCollection = GarbageCollection()
    retention: Retention | None = None
    tls: Tls = Tls()
    auth: Auth = Auth()
    service: Service = Service()
    node_trust: NodeTrustSpec = NodeTrustSpec()
    image: str | None = Field(default=None, min_length=1, max_length=512)
    resources: Resources = Resources()
    scheduling: Scheduling = Scheduling()


class NodeProblem(Model):
    node: str
    reason: str
    message: str


class NodesStatus(Model):
    """How many nodes should trust the registry, how many do, and what is wrong with the first few others."""

    desired: int = 0
    trusted: int = 0
    summary: str = ""
    """`trusted/desired`, for the column of kubectl."""
    problems: tuple[NodeProblem, ...] = ()


class CopyProblem(Written):
    reason: str
    message: str


class Copies(Written):
    """What other namespaces have of a registry. Written by the operator's copies loop alone, and by no other.

    A namespace is in here before there is a copy in it, and until there is none: whatever ends the operator in between,
    none is forgotten.
    """

    observed_generation: int = 0
    """Of the spec that all copies are as asked for by, but for the problems."""
    pull_secret_namespaces: tuple[str, ...] = ()
    service_accounts: tuple[str, ...] = ()
    """Names of ServiceAccounts in those namespaces that may have the pull secret."""
    ca_namespaces: tuple[str, ...] = ()
    problems: tuple[CopyProblem, ...] = ()

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Where there may be any copy."""
        return tuple(sorted({*self.pull_secret_namespaces, *self.ca_namespaces}))


class RegistryStatus(Written):
    """Written by the operator's registry loop alone, but for the copies and retention."""

    observed_generation: int = 0
    host: str = ""
    cluster_ips: tuple[str, ...] = Field(default=(), alias="clusterIPs")
    ca_config_map_name: str = ""
    credentials_secret_name: str = ""
    pull_secret_name: str = ""
    """Of the copies in other namespaces, the same in each; empty where none are asked for."""
    size: str = ""
    storage: StorageStatus = StorageStatus()
    entry_hash: str = ""
    """Of the trust entry that nodes are asked to believe; empty before the first one."""
    message: str = ""
    """Of the first thing that is wrong; empty when nothing is."""
    conditions: tuple[Condition, ...] = ()
    nodes: NodesStatus = NodesStatus()
    copies: Copies = Copies()
    garbage_collection: GarbageCollectionStatus = GarbageCollectionStatus()
    retention: RetentionStatus = RetentionStatus()


class Doors(Model):
    """How one gets into a registry."""

    asks: bool
    """Whether its port asks everyone for a credential."""
    pulls: bool
    """Whether there is another port, which takes no write."""
    pulls_ask: bool = False
    """Whether that one asks for a credential, too."""

    @property
    def let_anyone_pull(self) -> bool:
        return not self.asks or (self.pulls and not self.pulls_ask)


class PrivateRegistry(BaseModel):
    """One PrivateRegistry as read from the API server."""

    model_config = ConfigDict(frozen=True)

    namespace: str
    name: str
    uid: str
    generation: int
    deleting: bool
    finalizers: tuple[str, ...]
    created: str
    rotate: str
    collect: str = ""
    collect_dry_run: str = ""
    sweep: str = ""
    """Values of the annotations that ask for another credential, a collection of garbage, a dry run of one, a sweep."""
    spec: Spec
    status: RegistryStatus
    stage: Doors | None = None
    """What its pods are like on the way to what was asked for; None: just as asked for."""
    read_only: bool = False
    """Whether its pods take no writes for now, which is more than its owner may have asked for."""
    halted: bool = False
    """Whether it has no pod for now."""

    @property
    def key(self) -> str:
        return names.key(self.namespace, self.name)

    @property
    def host(self) -> str:
        """The canonical host: what goes in front of /repository:tag."""
        return f"{self.name}.{self.namespace}.svc:{names.PORT}"

    @property
    def hosts_in_pods(self) -> tuple[str, ...]:
        """What pods may call it beside its own names, though no node trusts these."""
        return tuple(f"{name}:{names.PORT}" for name in (f"{self.name}.{self.namespace}", self.name))

    @property
    def claim_name(self) -> str:
        return self.spec.storage.claim_name or names.claim(self.name)

    @property
    def certificate_secret(self) -> str | None:
        """The Secret that the pod mounts for TLS; None when it serves plain HTTP.

        A Secret that the user brings is copied once it has been checked: what serves must not break with it.
        """
        return None if self.spec.tls.mode == "Disabled" else names.certificate_secret(self.name)

    @property
    def authenticates(self) -> bool:
        """Whether port 5000 asks everyone for a credential.

        Not over plain HTTP unless that was said to be meant: an object from before that rule goes on as it was.
        """
        auth = self.spec.auth
        return auth.mode == "Basic" and (self.spec.tls.mode != "Disabled" or auth.acknowledge_plain_http)

    @property
    def has_pull_user(self) -> bool:
        """Whether there is a credential that pulls and does nothing else."""
        return self.authenticates and not self.spec.auth.anonymous_pull and self.spec.auth.pull_secret is not None

    @property
    def has_pulls(self) -> bool:
        """Whether a process of its own, which takes no write, serves those who pull."""
        return self.authenticates and (self.spec.auth.anonymous_pull or self.has_pull_user)

    @property
    def doors(self) -> Doors:
        """What its pods are like for now."""
        return self.stage or self.wanted_doors

    @property
    def wanted_doors(self) -> Doors:
        """What they are to be like in the end."""
        return Doors(asks=self.authenticates, pulls=self.has_pulls, pulls_ask=self.has_pull_user)

    @property
    def pull_port(self) -> int:
        """Where nodes pull, whatever port the image's name has."""
        return names.PULL_PORT if self.has_pulls else names.PORT

    @property
    def ports_to_pull_from(self) -> tuple[int, ...]:
        """Where the credential that only pulls is to be good."""
        asked = self.spec.auth.pull_secret
        return (names.PULL_PORT, names.PORT) if asked and asked.docker_nodes else (names.PULL_PORT,)

    @property
    def shares(self) -> bool:
        """Whether other namespaces are to have something of it."""
        return self.has_pull_user or self.shares_ca

    @property
    def shares_ca(self) -> bool:
        return self.spec.tls.ca_distribution is not None and self.spec.tls.mode != "Disabled"

    @property
    def was_published(self) -> bool:
        """Whether nodes were asked to trust it before, as far as its status remembers."""
        return bool(self.status.entry_hash)

    def owner_reference(self) -> dict[str, Any]:
        return {
            "apiVersion": names.API_VERSION,
            "kind": "PrivateRegistry",
            "name": self.name,
            "uid": self.uid,
            "controller": True,
            "blockOwnerDeletion": True,
        }


def parse(body: dict[str, Any]) -> PrivateRegistry:
    """Read an object of the API server.

    Raises SpecInvalidError naming each field that does not fit.
    """
    metadata = body["metadata"]
    annotations = metadata.get("annotations") or {}
    try:
        spec = Spec.model_validate(body.get("spec") or {})
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, ('spec', *item['loc'])))}: {item['msg']}" for item in error.errors())
        raise SpecInvalidError(wrong) from None
    return PrivateRegistry(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        generation=metadata.get("generation", 0),
        deleting=bool(metadata.get("deletionTimestamp")),
        finalizers=tuple(metadata.get("finalizers") or ()),
        created=metadata.get("creationTimestamp", ""),
        rotate=annotations.get(names.ROTATE, ""),
        collect=annotations.get(names.COLLECT, ""),
        collect_dry_run=annotations.get(names.COLLECT_DRY_RUN, ""),
        sweep=annotations.get(names.SWEEP, "")[: names.LONGEST_REQUEST],
        spec=spec,
        status=parse_status(body.get("status") or {}),
    )


def parse_status(status: dict[str, Any]) -> RegistryStatus:
    """Read a status; one of another version that does not fit counts as none, but for the copies, which only it has."""
    try:
        return RegistryStatus.model_validate(status)
    except ValidationError:
        return RegistryStatus(copies=_parse_copies(status.get("copies")))


def _parse_copies(copies: Any) -> Copies:
    try:
        return Copies.model_validate(copies)
    except ValidationError:
        return Copies()
