"""What somebody else does to a registry's objects is put right; what is taken out of the spec is taken out of them."""

import json
from pathlib import Path
from typing import Any

import pytest

from private_registry.api import names
from private_registry.kube import kinds
from private_registry.kube.kinds import Kind
from private_registry.registry.deployment import PREFERRED, PULLS_CONTAINER
from tests.integration.operator.parts.cluster import Cluster, Object
from tests.integration.operator.parts.kubelet import ABSENT
from tests.integration.operator.parts.webhook import HISTORY, a_webhook

REPAIRED_WITHIN = 5.0
WATCHED = ("Service team", "Deployment team", "ConfigMap team-ca", "ConfigMap entry.")
EDITS: dict[str, tuple[str, Object]] = {
    "the Service's port": (WATCHED[0], {"spec": {"ports": [{"port": 5000, "targetPort": 80}]}}),
    "the Service's selector": (WATCHED[0], {"spec": {"selector": {"track": "canary"}}}),
    "the number of replicas": (WATCHED[1], {"spec": {"replicas": 0}}),
    "the image": (
        WATCHED[1],
        {"spec": {"template": {"spec": {"containers": [{"name": "registry", "image": ABSENT}]}}}},
    ),
    "the pods' node selector": (WATCHED[1], {"spec": {"template": {"spec": {"nodeSelector": {"pool": "gone"}}}}}),
    "the CA": (WATCHED[2], {"data": {"ca.crt": "mine"}}),
    "the trust entry": (WATCHED[3], {"data": {"entry.json": "{}"}}),
    "a label of the claim": (
        "PersistentVolumeClaim team-data",
        {"metadata": {"labels": {names.COMPONENT: "database"}}},
    ),
}


async def children(cluster: Cluster) -> dict[str, Object]:
    """Everything of the registry's that is watched: by `Kind name`."""
    registry = await cluster.registry()
    found: dict[str, Object] = {}
    for kind in (kinds.SERVICE, kinds.DEPLOYMENT, kinds.CONFIG_MAP, kinds.CLAIM):
        for namespace in (cluster.namespace, names.AGENTS_NAMESPACE):
            listing = await cluster.kube.list(kind, namespace, labels=f"{names.REGISTRY_UID}={registry.uid}")
            found |= {f"{obj['kind']} {obj['metadata']['name']}": obj for obj in listing.items}
    return found


def bare(objects: dict[str, Object]) -> dict[str, Object]:
    """Objects without their status and what the server keeps in their metadata."""
    kept = ("name", "namespace", "labels", "ownerReferences")
    return {
        key: {part: value for part, value in obj.items() if part != "status"}
        | {"metadata": {part: obj["metadata"].get(part) for part in kept}}
        for key, obj in objects.items()
    }


def find(objects: dict[str, Object], wanted: str) -> Object:
    """The object whose `Kind name` begins like this."""
    return next(obj for key, obj in objects.items() if key.startswith(wanted))


async def test_an_edited_child_is_put_right(cluster: Cluster) -> None:
    """Whatever is changed in it, within seconds it is again what the spec asks for."""
    await cluster.ready()
    before = await children(cluster)
    for edit, (wanted, change) in EDITS.items():
        obj = find(before, wanted)
        path = kinds.of(obj).path(obj["metadata"]["namespace"], obj["metadata"]["name"])
        edited = await cluster.kube._call(
            "PATCH", path, body=change, query={"fieldManager": "kubectl-edit"}, content_type=STRATEGIC
        )
        assert bare({wanted: edited}) != bare({wanted: obj}), edit

        async def put_right() -> bool:
            after = bare(await children(cluster))
            assert after == bare(before), [key for key in after if after[key] != bare(before).get(key)]
            return True

        await cluster.until(put_right, within=REPAIRED_WITHIN, what=f"{edit} is put right")
        await cluster.until_ready()


STRATEGIC = "application/strategic-merge-patch+json"


async def test_a_deleted_child_comes_back(cluster: Cluster) -> None:
    """Each of the watched kinds within seconds, and as it was: the Service with its address."""
    await cluster.ready()
    before = await children(cluster)
    for wanted in WATCHED:
        old = find(before, wanted)
        place = (kinds.of(old), old["metadata"]["name"], old["metadata"]["namespace"])
        await cluster.delete(*place)

        async def is_back(place: tuple[Kind, str, str] = place, old: Object = old) -> bool:
            new = await cluster.get(*place)
            return bool(new["metadata"]["uid"] != old["metadata"]["uid"])

        await cluster.until(is_back, within=REPAIRED_WITHIN, what=f"the {wanted} is back")
        await cluster.until_ready()
    assert bare(await children(cluster)) == bare(before)


async def test_an_entry_of_an_older_operator_is_written_anew(cluster: Cluster) -> None:
    """After an upgrade the nodes get what the new operator has to say, and the registry is ready as before."""
    entry_hash = (await cluster.ready()).status.entry_hash
    entry = await cluster.entry()
    cluster.operator.stop()
    fields = {**json.loads(entry["data"]["entry.json"]), "formatVersion": 0}
    del fields["serverName"]
    older = {"data": {"entry.json": json.dumps(fields)}}
    await cluster.kube.merge(kinds.CONFIG_MAP, names.AGENTS_NAMESPACE, entry["metadata"]["name"], older)
    cluster.operator.start()

    async def is_new() -> bool:
        assert (await cluster.entry())["data"] == entry["data"]
        return True

    await cluster.until(is_new, what="the entry is the new operator's")
    assert (await cluster.until_ready()).status.entry_hash == entry_hash


async def test_a_claim_is_back_when_it_is_gone(cluster: Cluster) -> None:
    """A deleted claim stays while a pod uses it; the registry gets a new one as soon as it has gone."""
    await cluster.ready()
    old = await cluster.get(kinds.CLAIM, "team-data")
    await cluster.delete(kinds.CLAIM, "team-data")
    (pod,) = await cluster.pods()
    await cluster.delete(kinds.POD, pod["metadata"]["name"])

    async def is_new() -> bool:
        new = await cluster.get(kinds.CLAIM, "team-data")
        return bool(new["metadata"]["uid"] != old["metadata"]["uid"])

    await cluster.until(is_new, what="a new claim")
    await cluster.until_ready()


def everything() -> Object:
    """A spec with every option that can be taken back."""
    preference = {"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}
    return {
        "storage": {"deleteEnabled": False, "reclaimPolicy": "Delete"},
        "tls": {"mode": "Disabled"},
        "auth": {"mode": "None"},
        "service": {"type": "NodePort"},
        "nodeTrust": {
            "nodeSelector": {"kubernetes.io/os": "linux"},
            "additionalHosts": ["one.registry.example.com"],
        },
        "image": "registry.example.com/registry:3.1.2",
        "resources": {"requests": {"cpu": "10m", "memory": "1Mi"}, "limits": {"memory": "1Gi"}},
        "scheduling": {
            "nodeSelector": {"kubernetes.io/hostname": "node-a"},
            "tolerations": [{"key": "dedicated", "operator": "Exists"}],
            "affinity": {"nodeAffinity": {PREFERRED: [{"weight": 1, "preference": preference}]}},
            "priorityClassName": "system-cluster-critical",
            "imagePullSecrets": [{"name": "pull"}],
        },
    }


async def options(cluster: Cluster) -> dict[str, Any]:
    """What of the options is in the children."""
    deployment, service = await cluster.get(kinds.DEPLOYMENT, "team"), await cluster.get(kinds.SERVICE, "team")
    pod = deployment["spec"]["template"]["spec"]
    container, *further = pod["containers"]
    entry = json.loads((await cluster.entry())["data"]["entry.json"])
    return {
        "open": PULLS_CONTAINER not in [each["name"] for each in further],
        "delete": container["env"][0]["value"],
        "scheme": entry["scheme"],
        "type": service["spec"]["type"],
        "node port": "nodePort" in service["spec"]["ports"][0],
        "trusting": entry["nodeSelector"],
        "hosts": [host for host in entry["hosts"] if "example" in host],
        "image": container["image"],
        "resources": container["resources"],
        "node selector": pod["nodeSelector"],
        "tolerations": pod.get("tolerations"),
        "node affinity": "nodeAffinity" in pod["affinity"],
        "priority": pod.get("priorityClassName"),
        "pull secrets": pod.get("imagePullSecrets"),
    }


@pytest.mark.parametrize("at_creation", [True, False], ids=["set at creation", "set later"])
async def test_what_goes_from_the_spec_goes_from_the_children(cluster: Cluster, at_creation: bool) -> None:
    """Each option is in its child once it is set, and gone from it, with everything it brought, once it is removed."""
    await cluster.ready(everything() if at_creation else {})
    if not at_creation:
        await cluster.change(everything())
        await cluster.until_ready()
    assert await options(cluster) == {
        "open": True,
        "delete": "false",
        "scheme": "http",
        "type": "NodePort",
        "node port": True,
        "trusting": {"kubernetes.io/os": "linux"},
        "hosts": ["one.registry.example.com"],
        "image": "registry.example.com/registry:3.1.2",
        "resources": {"requests": {"cpu": "10m", "memory": "1Mi"}, "limits": {"memory": "1Gi"}},
        "node selector": {"kubernetes.io/os": "linux", "kubernetes.io/hostname": "node-a"},
        "tolerations": [{"key": "dedicated", "operator": "Exists"}],
        "node affinity": True,
        "priority": "system-cluster-critical",
        "pull secrets": [{"name": "pull"}],
    }

    await cluster.change(dict.fromkeys(everything()))
    await cluster.until_ready()
    assert await options(cluster) == {
        "open": False,
        "delete": "true",
        "scheme": "https",
        "type": "ClusterIP",
        "node port": False,
        "trusting": {},
        "hosts": [],
        "image": "docker.io/library/registry:3.1.1",
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
        "node selector": {"kubernetes.io/os": "linux"},
        "tolerations": None,
        "node affinity": False,
        "priority": None,
        "pull secrets": None,
    }


async def test_a_rewritten_object_is_not_written_for_ever(cluster: Cluster, tmp_path: Path) -> None:
    """Where an admission webhook changes what the operator writes, the operator insists once and leaves it at that."""
    async with a_webhook(cluster.kube, cluster.namespace, tmp_path) as asked:

        async def is_asked() -> bool:
            await cluster.kube._call("POST", kinds.DEPLOYMENT.path(cluster.namespace), body=A_DEPLOYMENT, query=DRY_RUN)
            return bool(asked)

        await cluster.until(is_asked, what="the webhook is asked")
        async with cluster.writes() as written:
            await cluster.ready()
            for value in ("linux", None) * 5:
                await cluster.change({"nodeTrust": {"nodeSelector": {"kubernetes.io/os": value}}})
                await cluster.until_ready()
        assert (await cluster.get(kinds.DEPLOYMENT, "team"))["spec"]["revisionHistoryLimit"] == HISTORY
        # Created; insisted on twice, because the Deployment's controller changed it meanwhile; each in two requests.
        assert len([each for each in written if "deployments" in each]) <= 5, written


DRY_RUN = {"dryRun": "All"}
A_DEPLOYMENT: Object = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "of-nobody"},
    "spec": {
        "selector": {"matchLabels": {"of": "nobody"}},
        "template": {"metadata": {"labels": {"of": "nobody"}}, "spec": {"containers": [{"name": "a", "image": "a"}]}},
    },
}
