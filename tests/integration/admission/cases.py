"""Every rule of the CRD with what it lets through and what it refuses.

`says` is the whole sentence. test_rules.py sees to it that no rule of the CRD is missing here.
"""

from dataclasses import dataclass
from typing import Any

Spec = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """Specs that one rule refuses, and the closest ones that it accepts."""

    says: str
    refused: tuple[Spec, ...]
    accepted: tuple[Spec, ...]


@dataclass(frozen=True)
class Change:
    """A change of a spec that one rule refuses or, with `says` empty, that is accepted."""

    says: str
    before: Spec
    after: Spec


def storage(**fields: Any) -> Spec:
    return {"storage": fields}


def tls(**fields: Any) -> Spec:
    return {"tls": fields}


def auth(**fields: Any) -> Spec:
    return {"auth": fields}


OPEN_PLAIN = {**tls(mode="Disabled"), **auth(mode="None")}


def pulls(*namespaces: str, **fields: Any) -> Spec:
    """With credentials for whoever pulls, as a pull secret in these namespaces."""
    return auth(anonymousPull=False, pullSecret={"namespaces": list(namespaces), **fields})


def selecting(*requirements: Spec) -> tuple[Spec, ...]:
    """The two places of a spec that select namespaces."""
    selector = {"matchExpressions": list(requirements)}
    return pulls(namespaceSelector=selector), tls(caDistribution={"namespaceSelector": selector})


def retention(mode: str = "Report", **rule: Any) -> Spec:
    return {"retention": {"mode": mode, "rules": [{"repositories": "*", **rule}]}}


def nightly(schedule: str) -> Spec:
    return {"retention": {**retention(keepLast=1)["retention"], "schedule": schedule}}


def collected(**fields: Any) -> Spec:
    return {**storage(accessMode="ReadWriteOncePod"), "garbageCollection": fields}


def user(name: str) -> list[Spec]:
    return [{"secretName": name}]


def hosts(*names: str) -> Spec:
    return {"nodeTrust": {"additionalHosts": list(names)}}


def toleration(**fields: Any) -> Spec:
    return {"scheduling": {"tolerations": [fields]}}


def selectors(**labels: str) -> tuple[Spec, ...]:
    """The two places of a spec that select nodes."""
    return ({"nodeTrust": {"nodeSelector": labels}}, {"scheduling": {"nodeSelector": labels}})


def keys(key: str) -> tuple[Spec, ...]:
    return selectors(**{key: "x"})


NOT_HOSTS = (
    "..",
    "a/b",
    "a.b/c",
    "a.b\n",
    "a\nb.c",
    'a".b',
    "A.b",
    "a b.c",
    "a..b",
    ".a.b",
    "a.b.",
    "-a.b",
    "a.b:",
    "a.b:0",
    "a.b:05",
    "a.b:x",
    "a.b:123456",
    "u@a.b",
    "a_b.c",
    "é.b",
    "[fd00::1]:5000",
    "fd00::1",
    "",
    f"{'a' * 64}.b",
    "a.b:5000:5000",
    "*.a.b",
    "a.b\t",
    "a.b\x00",
    "\N{FULLWIDTH PERCENT SIGN}2e.b",
)
OTHERS_HOSTS = (
    *("other.dev.svc:5000", "other.dev.svc", "svc:5000", "other.dev.svc.cluster.local:5000"),
    *("cluster.local:80", "x.cluster.local"),
)
NOT_IMAGES = (
    *("a b", " registry", "registry ", "registry\n", "a/B", "registry:", "registry:a:b", "/registry"),
    *("registry@sha256:abc", "https://example.com/registry", "a//b", "registry:-x", f"registry:{'a' * 129}"),
)
IMAGES = (
    "registry",
    "registry:3.1.1",
    "docker.io/library/registry:3.1.1",
    "a.b:5000/c/d__e-f:X_1",
    f"registry@sha256:{'a' * 64}",
    f"[fd00::1]:5000/registry:3@sha256:{'0' * 64}",
    "localhost/registry",
)

CASES = [
    Case(
        "size must be a quantity, such as 20Gi",
        (storage(size="large"), storage(size=""), storage(size="20 Gi"), storage(size="20GB")),
        (storage(size="20Gi"), storage(size="1.5Ti"), storage(size="5e9")),
    ),
    Case(
        "reserve must be a quantity, such as 5Gi", (storage(reserve="5%"), storage(reserve="")), (storage(reserve="0"),)
    ),
    Case("reserve must not be negative", (storage(reserve="-1"), storage(reserve="-5Gi")), (storage(reserve="0"),)),
    Case("size must be greater than 0", (storage(size="0"), storage(size="-20Gi")), (storage(size="1Mi"),)),
    Case(
        "storageClassName must be the name of a StorageClass or empty",
        (storage(storageClassName="Fast"), storage(storageClassName="a b"), storage(storageClassName=".")),
        (storage(storageClassName="fast"), storage(storageClassName="a.b"), storage(storageClassName="")),
    ),
    Case(
        "claimName must be the name of a PersistentVolumeClaim",
        (storage(claimName="Images"), storage(claimName="../images")),
        (storage(claimName="images"),),
    ),
    Case(
        "size does not go with claimName, the claim has its own",
        (storage(claimName="images", size="20Gi"),),
        (storage(claimName="images"), storage(size="20Gi")),
    ),
    Case(
        "storageClassName does not go with claimName, the claim has its own",
        (storage(claimName="images", storageClassName="fast"), storage(claimName="images", storageClassName="")),
        (storage(claimName="images"), storage(storageClassName="fast")),
    ),
    Case(
        "reclaimPolicy Delete does not go with claimName, the claim belongs to someone else",
        (storage(claimName="images", reclaimPolicy="Delete"),),
        (storage(claimName="images", reclaimPolicy="Retain"), storage(reclaimPolicy="Delete")),
    ),
    Case("secretName is required with mode Secret", (tls(mode="Secret"),), (tls(mode="Secret", secretName="own"),)),
    Case(
        "secretName goes with mode Secret only",
        (
            tls(secretName="own"),
            tls(mode="Managed", secretName="own"),
            {**auth(mode="None"), **tls(mode="Disabled", secretName="own")},
        ),
        (tls(mode="Managed"), OPEN_PLAIN),
    ),
    Case(
        "secretName must be the name of a Secret",
        (tls(mode="Secret", secretName="Own"), tls(mode="Secret", secretName="a/b")),
        (tls(mode="Secret", secretName="own.example"),),
    ),
    Case(
        "users go with mode Basic only",
        (auth(mode="None", users=user("ci")),),
        (auth(users=user("ci")), auth(mode="Basic", users=user("ci")), auth(mode="None", users=[])),
    ),
    Case(
        "secretName must be the name of a Secret",
        (auth(mode="Basic", users=user("Ci")), auth(mode="Basic", users=user("a/b"))),
        (auth(mode="Basic", users=user("ci.example")),),
    ),
    Case(
        "pullSecret goes with anonymousPull false and mode Basic only, elsewhere pulling needs none",
        (auth(pullSecret={}), auth(anonymousPull=True, pullSecret={}), auth(mode="None", pullSecret={})),
        (auth(anonymousPull=False, pullSecret={}), auth(anonymousPull=False)),
    ),
    Case(
        "namespaces must hold names of namespaces",
        (pulls("Apps"), pulls("a/b"), pulls("a.b"), pulls("apps", "..")),
        (pulls("apps", "a-b"),),
    ),
    Case(
        "serviceAccounts must hold names of ServiceAccounts",
        (pulls("apps", serviceAccounts=["Default"]), pulls("apps", serviceAccounts=["a/b"])),
        (pulls("apps", serviceAccounts=["default", "a.b"]),),
    ),
    Case(
        "values go with In and NotIn, which need some, and with nothing else",
        (
            *selecting({"key": "team", "operator": "In"}),
            *selecting({"key": "team", "operator": "NotIn", "values": []}),
            *selecting({"key": "team", "operator": "Exists", "values": ["a"]}),
        ),
        (
            *selecting({"key": "team", "operator": "In", "values": ["a", "b"]}),
            *selecting({"key": "team", "operator": "DoesNotExist"}),
            *selecting(),
        ),
    ),
    Case(
        "caDistribution does not go with mode Disabled, there is no certificate to verify",
        ({**OPEN_PLAIN, **tls(mode="Disabled", caDistribution={"namespaceSelector": {}})},),
        (tls(caDistribution={"namespaceSelector": {}}), OPEN_PLAIN),
    ),
    Case(
        "with tls.mode Disabled passwords cross the network in the clear: set auth.acknowledgePlainHTTP if that is "
        "meant, or auth.mode None",
        (
            tls(mode="Disabled"),
            {**auth(mode="Basic"), **tls(mode="Disabled")},
            {**auth(acknowledgePlainHTTP=False), **tls(mode="Disabled")},
        ),
        (
            {**auth(acknowledgePlainHTTP=True), **tls(mode="Disabled")},
            OPEN_PLAIN,
        ),
    ),
    Case(
        "a key of nodeSelector must be a label key, such as kubernetes.io/hostname",
        (*keys("a b"), *keys("a/b/c"), *keys("-a"), *keys(""), *keys("A/b"), *keys("a" * 64), *keys("a" * 254 + "/b")),
        (*keys("a"), *keys("example.com/Team_1.x"), *keys("a" * 63), *keys("a" * 253 + "/" + "b" * 63)),
    ),
    Case(
        "a value of nodeSelector must be a label value: letters, digits, '-', '_' and '.', at most 63",
        (*selectors(team="a b"), *selectors(team="-a"), *selectors(team="a/b")),
        (*selectors(team="Blue_1.x"), *selectors(team="")),
    ),
    Case(
        "an additional host must be a lower-case DNS name, then optionally ':' and a port",
        tuple(hosts(name) for name in NOT_HOSTS),
        (hosts("a.b", "a-1.b:1", "a.b:65535", "xn--e1afmkfd.example", f"{'a' * 63}.b"),),
    ),
    Case(
        "the name of an additional host must have at most 253 characters",
        (hosts(".".join(["a" * 63] * 3 + ["a" * 62])), hosts(".".join(["a" * 63] * 3 + ["a" * 62]) + ":1")),
        (hosts(".".join(["a" * 63] * 3 + ["a" * 61]) + ":65535"),),
    ),
    Case(
        "the port of an additional host must be at most 65535",
        (hosts("a.b:65536"), hosts("a.b:99999")),
        (hosts("a.b:65535"),),
    ),
    Case(
        "an additional host must be a name, not an address",
        (hosts("10.96.0.1:5000"), hosts("1.2.3.4"), hosts("1.2:5000"), hosts("127:5000")),
        (hosts("1.2.3.example:5000"), hosts("1a:5000")),
    ),
    Case(
        "an additional host without a dot needs a port: an image name would take it for a repository",
        (hosts("registry"), hosts("localhost"), hosts("svc2")),
        (hosts("registry:5000"),),
    ),
    Case(
        "an additional host must not be a name of the cluster's Services, which belongs to that Service",
        tuple(hosts(name) for name in OTHERS_HOSTS),
        (hosts("svc.example.com", "my-svc:5000", "cluster.local.example"),),
    ),
    Case(
        "image must be an image reference: [host[:port]/]repository[:tag][@digest]",
        tuple({"image": image} for image in NOT_IMAGES),
        tuple({"image": image} for image in IMAGES),
    ),
    Case(
        "a request must not be greater than the limit of the same resource",
        (
            {"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1500m"}}},
            {"resources": {"requests": {"cpu": 2}, "limits": {"cpu": 1}}},
            {"resources": {"limits": {"memory": "64Mi"}}},  # the default request is 128Mi
        ),
        (
            {"resources": {"requests": {"cpu": "1500m"}, "limits": {"cpu": 2, "memory": "64Mi"}}},
            {"resources": {"limits": {"cpu": "100m", "memory": "128Mi"}}},
        ),
    ),
    Case(
        "a resource must be cpu, memory, ephemeral-storage, hugepages-SIZE or domain/name",
        ({"resources": {"requests": {"ram": "1Gi"}}}, {"resources": {"limits": {"CPU": 1}}}),
        ({"resources": {"requests": {"ephemeral-storage": "1Gi"}, "limits": {"example.com/dongle": 1}}},),
    ),
    Case(
        "the amount of a resource must be a quantity of at least 0, such as 500m or 1Gi",
        (
            {"resources": {"requests": {"cpu": "a lot"}}},
            {"resources": {"requests": {"cpu": -1}}},
            {"resources": {"limits": {"ephemeral-storage": "-1Gi"}}},
        ),
        ({"resources": {"requests": {"cpu": 0}, "limits": {"memory": "1Gi"}}},),
    ),
    Case(
        "a toleration without key needs operator Exists",
        (toleration(), toleration(effect="NoSchedule"), toleration(operator="Equal", value="a")),
        (toleration(operator="Exists"), toleration(key="a")),
    ),
    Case(
        "a toleration with operator Exists has no value",
        (toleration(key="a", operator="Exists", value="b"),),
        (toleration(key="a", operator="Exists"), toleration(key="a", operator="Equal", value="b")),
    ),
    Case(
        "tolerationSeconds goes with effect NoExecute only",
        (toleration(key="a", tolerationSeconds=1), toleration(key="a", effect="NoSchedule", tolerationSeconds=1)),
        (toleration(key="a", effect="NoExecute", tolerationSeconds=1),),
    ),
    Case(
        "priorityClassName must be the name of a PriorityClass",
        ({"scheduling": {"priorityClassName": "High!"}},),
        ({"scheduling": {"priorityClassName": "high"}}, {"scheduling": {"priorityClassName": ""}}),
    ),
    Case(
        "imagePullSecrets must hold names of Secrets",
        ({"scheduling": {"imagePullSecrets": [{"name": "Docker Hub"}]}},),
        ({"scheduling": {"imagePullSecrets": [{"name": "docker-hub"}]}},),
    ),
    Case(
        "a rule needs keepLast, keepYoungerThan or keepTags: it would keep nothing",
        (retention(), retention(keepTags=[])),
        (retention(keepLast=1), retention(keepYoungerThan="1h"), retention(keepTags=["*"])),
    ),
    Case(
        "keepYoungerThan must be a duration, such as 720h or 1h30m",
        tuple(retention(keepYoungerThan=each) for each in ("", "30d", "1m1h", "1.5h", "-1h", "1h\n")),
        tuple(retention(keepYoungerThan=each) for each in ("720h", "1h30m", "90s", "0h")),
    ),
    Case(
        "with storage.deleteEnabled false nothing can be deleted, retention.mode has to be Report",
        ({**retention("Enforce", keepLast=1), **storage(deleteEnabled=False)},),
        ({**retention(keepLast=1), **storage(deleteEnabled=False)}, retention("Enforce", keepLast=1)),
    ),
    Case(
        "schedule must have five fields, such as '0 3 * * 0'",
        ({"garbageCollection": {"schedule": "0 3 * * * *"}}, nightly("0 13  * *")),
        ({"garbageCollection": {"schedule": "0 3 * * 0"}}, nightly("*/5 3 * * MON-FRI"), nightly(" 0  3 * * 0 ")),
    ),
    Case(
        "with accessMode ReadWriteOncePod a collection stops the registry: set garbageCollection.allowOutage if that "
        "is meant",
        (collected(schedule="0 3 * * 0"),),
        (collected(), collected(schedule="0 3 * * 0", allowOutage=True)),
    ),
]

SHRINKS = "size may only grow, a volume cannot shrink (left out, it is 20Gi)"
CHANGES = [
    Change(SHRINKS, storage(size="20Gi"), storage(size="10Gi")),
    Change(SHRINKS, storage(size="1Gi"), storage(size="1023Mi")),
    Change(SHRINKS, storage(), storage(size="10Gi")),
    Change(SHRINKS, storage(size="30Gi"), storage()),
    Change(SHRINKS, storage(size="30Gi"), {}),
    Change("size must be a quantity, such as 20Gi", storage(size="30Gi"), storage(size="more")),
    Change("", storage(size="10Gi"), storage(size="20Gi")),
    Change("", storage(size="1Gi"), storage(size="1024Mi")),
    Change("", storage(size="10Gi"), storage()),
    Change("", storage(), storage(size="20Gi")),
    Change("", {}, storage(size="21Gi")),
    Change("storageClassName is immutable", storage(storageClassName="a"), storage(storageClassName="b")),
    Change("storageClassName is immutable", storage(storageClassName="a"), storage(storageClassName="")),
    Change("storageClassName is immutable", storage(storageClassName="a"), storage()),
    Change("storageClassName is immutable", {}, storage(storageClassName="a")),
    Change("accessMode is immutable", {}, storage(accessMode="ReadWriteMany")),
    Change("accessMode is immutable", storage(accessMode="ReadWriteMany"), storage()),
    Change("", {}, storage(accessMode="ReadWriteOnce")),
    Change("claimName is immutable", storage(claimName="a"), storage(claimName="b")),
    Change("claimName is immutable", storage(claimName="a"), storage()),
    Change("claimName is immutable", storage(), storage(claimName="a")),
    Change("", storage(claimName="a", deleteEnabled=True), storage(claimName="a", deleteEnabled=False)),
    Change("", storage(reclaimPolicy="Retain"), storage(reclaimPolicy="Delete")),
    Change("", tls(mode="Managed"), tls(mode="Secret", secretName="own")),
    Change("", tls(mode="Secret", secretName="own"), OPEN_PLAIN),
    Change("", auth(mode="Basic", anonymousPull=False), auth(mode="None")),
    Change("", {"service": {"type": "NodePort"}}, {"service": {"type": "LoadBalancer"}}),
    Change("", hosts("a.b"), {"nodeTrust": {"enabled": False}}),
]
