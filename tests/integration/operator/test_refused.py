"""What cannot be had is said in a sentence with its cure; what is somebody else's stays as it is."""

import base64
import json

from private_registry.api import names
from private_registry.api.conditions import Type
from private_registry.kube import kinds
from private_registry.kube.kinds import Kind
from private_registry.pki import Certificate
from tests.certificates import a_certificate
from tests.integration.operator.parts.cluster import Cluster, Object
from tests.integration.operator.parts.volumes import IS_DEFAULT, STANDARD

SIZE = {"requests": {"storage": "1Gi"}}
CLAIM: Object = {"spec": {"accessModes": ["ReadWriteOnce"], "resources": SIZE}}
QUOTA = Kind("", "v1", "resourcequotas", "ResourceQuota")
LABELS = {"app": "of-somebody"}

FOREIGN: dict[str, tuple[Kind, str, Object]] = {
    "service": (kinds.SERVICE, "", {"spec": {"selector": LABELS, "ports": [{"port": 5000}]}}),
    "deployment": (
        kinds.DEPLOYMENT,
        "",
        {
            "spec": {
                "replicas": 0,
                "selector": {"matchLabels": LABELS},
                "template": {"metadata": {"labels": LABELS}, "spec": {"containers": [{"name": "a", "image": "a"}]}},
            }
        },
    ),
    "certificate": (kinds.SECRET, "-certificate", {"stringData": {"tls.crt": "mine"}}),
    "ca": (kinds.CONFIG_MAP, "-ca", {"data": {"ca.crt": "mine"}}),
    "configuration": (kinds.SECRET, "-config", {"stringData": {"http-secret": "mine"}}),
    "claim": (kinds.CLAIM, "-data", CLAIM),
}


async def test_a_name_that_is_taken(cluster: Cluster) -> None:
    """Somebody's object with the name of a child is never touched, and nothing is built around it."""
    foreign = {
        registry: await cluster.add(kind, f"{registry}{suffix}", **fields)
        for registry, (kind, suffix, fields) in FOREIGN.items()
    }
    for registry in FOREIGN:
        await cluster.create(name=registry)
    for registry, (kind, suffix, _) in FOREIGN.items():
        message = await cluster.until_condition(Type.STALLED, "True", "NameTaken", name=registry)
        assert message == (
            f"there is a {kind.kind} {registry}{suffix} in namespace {cluster.namespace} that is not this registry's; "
            "rename or delete it, or give the PrivateRegistry another name"
        )
    made = [
        obj["metadata"]["name"]
        for kind in (kinds.SERVICE, kinds.DEPLOYMENT, kinds.SECRET, kinds.CONFIG_MAP, kinds.CLAIM)
        for obj in (
            await cluster.kube.list(kind, cluster.namespace, labels=f"{names.MANAGED_BY}={names.MANAGER}")
        ).items
    ]
    assert made == []

    free, (kind, suffix, _) = "service", FOREIGN["service"]
    for registry in FOREIGN.keys() - {free}:
        await cluster.delete(kinds.PRIVATE_REGISTRY, registry)
        await cluster.until_gone(kinds.PRIVATE_REGISTRY, registry)
    for registry, (kind, suffix, _) in FOREIGN.items():
        now = await cluster.get(kind, f"{registry}{suffix}")
        assert now["metadata"]["uid"] == foreign[registry]["metadata"]["uid"]
        assert {part: now.get(part) for part in ("spec", "data")} == {
            part: foreign[registry].get(part) for part in ("spec", "data")
        }

    await cluster.delete(kinds.SERVICE, free)
    await cluster.until_ready(free)


async def test_a_claim_that_is_missing(cluster: Cluster) -> None:
    """It is named, and the registry starts once it is there."""
    await cluster.create({"storage": {"claimName": "images"}})
    message = await cluster.until_condition(Type.STORAGE_READY, "False", "ClaimNotFound")
    assert message == (
        f"spec.storage.claimName: there is no PersistentVolumeClaim images in namespace {cluster.namespace}; create it"
    )
    await cluster.until_condition(Type.READY, "False", "ClaimNotFound")
    await cluster.add(kinds.CLAIM, "images", **CLAIM)
    await cluster.until_ready()
    assert (await cluster.registry()).status.size == "1Gi"


async def test_a_claim_that_another_registry_uses(cluster: Cluster) -> None:
    """Two registries on one volume would delete each other's images: the older one keeps it."""
    await cluster.ready()
    await cluster.create({"storage": {"claimName": "team-data"}}, name="another")
    message = await cluster.until_condition(Type.STALLED, "True", "ClaimInUse", name="another")
    assert message == (
        f"the claim team-data is used by the registry {cluster.namespace}/team; two registries on one volume would "
        "delete each other's images: make this one anew, with a claim of its own"
    )
    assert await cluster.pods("another") == []
    await cluster.until_ready()

    await cluster.delete(kinds.PRIVATE_REGISTRY, "team")
    await cluster.until_ready("another")


async def test_a_class_that_is_missing(cluster: Cluster) -> None:
    """The classes that there are stand beside the one that there is not."""
    await cluster.create({"storage": {"storageClassName": "fast"}})
    message = await cluster.until_condition(Type.STORAGE_READY, "False", "StorageClassNotFound")
    assert message == (
        "the storage class fast of the claim team-data does not exist (there are: full, growing, roots, small, "
        "standard); create it, or delete this PrivateRegistry and name another class"
    )
    await cluster.until_condition(Type.STALLED, "True", "StorageClassNotFound")


async def test_no_default_class(cluster: Cluster) -> None:
    """A cluster without a default class is told from one whose class is slow; making one the default is the cure."""
    await set_default(cluster, "false")
    try:
        await cluster.create()
        message = await cluster.until_condition(Type.STORAGE_READY, "False", "NoDefaultStorageClass")
        assert message == (
            "the claim team-data names no storage class and the cluster has no default one (there are: full, growing, "
            "roots, small, standard); make one the default, or delete this PrivateRegistry and name one in "
            "spec.storage.storageClassName"
        )
    finally:
        await set_default(cluster, "true")
    await cluster.until_ready()


async def set_default(cluster: Cluster, value: str) -> None:
    annotations = {"metadata": {"annotations": {IS_DEFAULT: value}}}
    await cluster.kube.merge(kinds.STORAGE_CLASS, None, STANDARD, annotations)


async def test_a_class_without_room(cluster: Cluster) -> None:
    """What the provisioner says of a claim is passed on."""
    await cluster.create({"storage": {"storageClassName": "full"}})
    message = await cluster.until_condition(Type.STORAGE_READY, "False", "ProvisioningFailed")
    assert message == (
        "no volume for the claim team-data (classes: full, growing, roots, small, standard): no room for another "
        "directory"
    )


async def test_a_volume_that_cannot_grow(cluster: Cluster) -> None:
    """It is said at once, before anybody is asked, and harms nothing: the registry takes every other change."""
    await cluster.ready({"storage": {"size": "1Gi"}})
    async with cluster.requests() as requests:
        await cluster.change({"storage": {"size": "2Gi", "deleteEnabled": False}})
        message = await cluster.until_condition(Type.STALLED, "True", "ResizeRefused")
    assert not [each for _, each in requests if "persistentvolumeclaims" in each]
    assert message == (
        "the claim team-data cannot grow: its storage class standard has no allowVolumeExpansion; have the "
        "administrator set it if the driver can, or make another PrivateRegistry of that size and copy the images over"
    )
    await cluster.until_condition(Type.AVAILABLE, "True", "Serving")

    async def is_changed() -> bool:
        return not await (await cluster.http()).deletion_enabled()

    await cluster.until(is_changed, what="deletion is off")


async def test_a_volume_that_grows(cluster: Cluster) -> None:
    """A larger size reaches the claim, and stays when it is left out again: a volume never shrinks."""
    await cluster.ready({"storage": {"size": "30Gi", "storageClassName": "growing"}})
    await cluster.change({"storage": {"size": "40Gi"}})

    async def has_grown() -> bool:
        claim = await cluster.get(kinds.CLAIM, "team-data")
        return bool(claim["spec"]["resources"]["requests"]["storage"] == "40Gi")

    await cluster.until(has_grown, within=5, what="the claim asks for 40Gi")
    await cluster.until_ready()


async def test_a_secret_that_is_missing(cluster: Cluster) -> None:
    """A registry without its certificate does not fall back on plain HTTP; it starts once the Secret is there."""
    await cluster.create({"tls": {"mode": "Secret", "secretName": "brought"}})
    message = await cluster.until_condition(Type.STALLED, "True", "SecretNotFound")
    assert message == (
        f"spec.tls.secretName: there is no Secret brought in namespace {cluster.namespace}; create it with tls.crt, "
        "tls.key and, for a private CA, ca.crt"
    )
    assert await cluster.pods() == []
    await bring(cluster, a_certificate([f"team.{cluster.namespace}.svc"]))
    await cluster.until_ready()


async def bring(cluster: Cluster, certificate: Certificate, *, name: str = "brought") -> None:
    """A certificate as a user brings it, in place of the one before."""
    parts = {"tls.crt": certificate.cert_pem, "tls.key": certificate.key_pem, "ca.crt": certificate.ca_pem}
    data = {key: base64.b64encode(pem.encode()).decode() for key, pem in parts.items() if pem}
    await cluster.delete(kinds.SECRET, name)
    await cluster.add(kinds.SECRET, name, type="kubernetes.io/tls", data=data)


async def test_a_bad_certificate(cluster: Cluster) -> None:
    """One that cannot serve is never used, and says why; what serves with a good one before goes on doing so."""
    host = f"team.{cluster.namespace}.svc"
    good = a_certificate([host])
    of_another = Certificate(good.cert_pem, a_certificate([host]).key_pem, good.ca_pem)
    elsewhere = a_certificate(["registry.elsewhere.example.com"])
    await bring(cluster, good)
    registry = await cluster.ready({"tls": {"mode": "Secret", "secretName": "brought"}})

    await bring(cluster, of_another)
    message = await cluster.until_condition(Type.STALLED, "True", "CertificateInvalid")
    assert message == (
        "the Secret brought: tls.key does not belong to the certificate in tls.crt; put a certificate that fits into it"
    )
    await cluster.until_condition(Type.AVAILABLE, "True", "Serving")

    await bring(cluster, elsewhere)
    hosts = [host, f"{host}.cluster.local", f"team.{cluster.namespace}", "team", *registry.status.cluster_ips]
    expected = (
        "the Secret brought: the certificate in tls.crt names registry.elsewhere.example.com: it has to name one of "
        f"{', '.join(hosts)}; put a certificate that fits into it"
    )

    async def says_so() -> bool:
        condition = await cluster.condition(Type.STALLED)
        assert condition
        assert condition.message == expected
        return True

    await cluster.until(says_so, what="the message names the names")
    await cluster.until_condition(Type.AVAILABLE, "True", "Serving")
    assert (await cluster.registry()).status.entry_hash == registry.status.entry_hash

    await bring(cluster, good)
    await cluster.until_ready()


async def test_hosts_that_one_may_not_have(cluster: Cluster) -> None:
    """A name that the administrator does not allow, or that another registry has, is left out of those trusted."""
    mine, others = "mine.registry.example.com", "shared.registry.example.com"
    await cluster.ready({"nodeTrust": {"additionalHosts": [others]}})
    await cluster.create({"nodeTrust": {"additionalHosts": ["docker.io", others, mine]}}, name="younger")
    message = await cluster.until_condition(Type.STALLED, "True", "HostNotAllowed", name="younger")
    assert message == (
        f"spec.nodeTrust.additionalHosts: docker.io is neither a name of {cluster.namespace}/younger nor allowed by "
        f"--allowed-hosts; spec.nodeTrust.additionalHosts: {others} is a name of the registry {cluster.namespace}/team "
        "already"
    )
    await cluster.until_condition(Type.NODES_TRUSTED, "True", "AllNodesTrust", name="younger")
    await cluster.until_condition(Type.READY, "False", "HostNotAllowed", name="younger")
    assert [host for host in await hosts_of(cluster, "younger") if "svc" not in host and "127." not in host][-1] == mine
    assert others in await hosts_of(cluster, "team")

    await cluster.change({"nodeTrust": {"additionalHosts": [others, mine]}}, name="younger")
    await cluster.until_condition(Type.STALLED, "True", "HostTaken", name="younger")
    await cluster.change({"nodeTrust": None})
    await cluster.until_ready("younger")
    assert others in await hosts_of(cluster, "younger")
    assert others not in await hosts_of(cluster, "team")


async def hosts_of(cluster: Cluster, name: str) -> list[str]:
    hosts: list[str] = json.loads((await cluster.entry(name))["data"]["entry.json"])["hosts"]
    return hosts


async def test_what_the_api_server_refuses(cluster: Cluster) -> None:
    """A quota of the namespace's administrator is passed on in the API server's words, and tried again by itself."""
    about = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"}}
    await cluster.kube._call("POST", QUOTA.path(cluster.namespace), body={**about, "spec": {"hard": {"services": "0"}}})

    async def is_counted() -> bool:
        return bool((await cluster.get(QUOTA, "small")).get("status", {}).get("hard"))

    await cluster.until(is_counted, what="the quota is in force")
    await cluster.create()
    message = await cluster.until_condition(Type.STALLED, "True", "RefusedByServer")
    assert message == (
        'the API server refuses the Service team: services "team" is forbidden: exceeded quota: small, requested: '
        "services=1, used: services=0, limited: services=0"
    )
    await cluster.delete(QUOTA, "small")
    await cluster.until_ready()
