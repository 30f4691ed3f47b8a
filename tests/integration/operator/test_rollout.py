"""How one pod takes over from the last one, and what a bad change costs: nothing that works."""

from typing import Any

from private_registry.api import names
from private_registry.api.conditions import Type
from private_registry.distribution import Registry
from private_registry.kube import kinds
from private_registry.registry.image_proof import COMPONENT as IMAGE_PROOF
from tests.integration.operator.parts.cluster import Cluster, Object
from tests.integration.operator.parts.kubelet import ABSENT, NO_REGISTRY, NOT_FOUND

GOOD = "images.example.com/registry:3.1.2"
CANNOT_BE_PULLED = (
    f"the image {ABSENT} cannot be pulled (ErrImagePull): {NOT_FOUND}; correct spec.image or "
    "spec.scheduling.imagePullSecrets"
)
IS_NO_REGISTRY = (
    f"the image {NO_REGISTRY} has no program `registry`: spec.image must be the CNCF distribution registry, 3.1.1 or "
    "newer"
)

WITHOUT_A_GAP = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}


async def nodes_of(cluster: Cluster) -> set[str]:
    return {pod["spec"].get("nodeName", "") for pod in await cluster.pods()}


async def strategy(cluster: Cluster) -> dict[str, Any]:
    found: dict[str, Any] = (await cluster.get(kinds.DEPLOYMENT, "team"))["spec"]["strategy"]
    return found


async def proofs(cluster: Cluster) -> list[Object]:
    listing = await cluster.kube.list(kinds.POD, cluster.namespace, labels=f"{names.COMPONENT}={IMAGE_PROOF}")
    return listing.items


async def test_an_image_that_cannot_be_pulled(cluster: Cluster) -> None:
    """The pod that serves goes on serving, the status says why the next one cannot start; the spec before cures it."""
    await cluster.ready()
    client = await cluster.http()
    (serving,) = await cluster.pods()

    await cluster.change({"image": ABSENT})
    message = await cluster.until_condition(Type.STALLED, "True", "ImageCannotBePulled")
    assert message == CANNOT_BE_PULLED
    assert await cluster.until_event("ImageCannotBePulled") == message
    await cluster.until_condition(Type.AVAILABLE, "True", "Serving")
    await cluster.until_condition(Type.NODES_TRUSTED, "True", "AllNodesTrust")
    await cluster.until_condition(Type.READY, "False", "ImageCannotBePulled")
    assert (await client.serves()).yes

    await cluster.change({"image": None})
    await cluster.until_ready()
    assert [pod["metadata"]["uid"] for pod in await cluster.pods()] == [serving["metadata"]["uid"]]


async def test_an_image_that_is_no_registry(cluster: Cluster) -> None:
    """It can be pulled and has not the program that is asked for: the status says what an image has to be."""
    await cluster.ready()
    await cluster.change({"image": NO_REGISTRY})
    assert await cluster.until_condition(Type.STALLED, "True", "NotARegistry") == IS_NO_REGISTRY
    await cluster.until_condition(Type.AVAILABLE, "True", "Serving")
    await cluster.change({"image": GOOD})
    await cluster.until_ready()


async def test_a_bad_image_from_the_beginning(cluster: Cluster) -> None:
    """A registry that never started says so, and starts once its image is corrected."""
    await cluster.create({"image": ABSENT})
    assert await cluster.until_condition(Type.STALLED, "True", "ImageCannotBePulled") == CANNOT_BE_PULLED
    await cluster.until_condition(Type.AVAILABLE, "False", "ImageCannotBePulled")
    await cluster.change({"image": GOOD})
    await cluster.until_ready()


async def test_two_changes_at_once(cluster: Cluster) -> None:
    """The second waits until the first has been rolled out; the last one asked for is what there is in the end."""
    await cluster.ready()
    cluster.kubelet.hold(True)
    await cluster.change({"image": GOOD})
    await cluster.until_condition(Type.RECONCILING, "True", "RollingOut")
    await cluster.change({"storage": {"deleteEnabled": False}})
    waiting = "waiting for the rollout before the next one"
    await cluster.until_condition(Type.RECONCILING, "True", "Progressing", says=waiting)
    cluster.kubelet.hold(False)
    await cluster.until_ready()
    (pod,) = await cluster.pods()
    assert pod["spec"]["containers"][0]["image"] == GOOD
    assert not await (await cluster.http()).deletion_enabled()


async def test_a_pod_that_lands_on_another_node(cluster: Cluster) -> None:
    """It waits for the volume in vain. Once its image has been proven there, the last pod makes way, this one time."""
    await cluster.ready()
    assert await nodes_of(cluster) == {"node-a"}
    assert await strategy(cluster) == WITHOUT_A_GAP
    cluster.kubelet.place = "node-b"

    async with cluster.writes() as written:
        await cluster.change({"image": GOOD})
        await cluster.until_ready()
    assert await nodes_of(cluster) == {"node-b"}
    (proven,) = (index for index, each in enumerate(written) if each.startswith("create pods "))
    changed = [index for index, each in enumerate(written) if each.startswith("patch deployments ")]
    assert min(changed) < proven < max(changed), written

    async def is_as_before() -> bool:
        assert await proofs(cluster) == []
        return await strategy(cluster) == WITHOUT_A_GAP

    await cluster.until(is_as_before, what="the next rollout is without a gap again, and no proof is left")
    await cluster.until_ready()


async def test_a_bad_image_on_another_node(cluster: Cluster) -> None:
    """An image that was not proven there takes no working pod down, wherever the next one landed."""
    await cluster.ready()
    client: Registry = await cluster.http()
    cluster.kubelet.place = "node-b"
    for image, reason, message in (
        (ABSENT, "ImageCannotBePulled", CANNOT_BE_PULLED),
        (NO_REGISTRY, "NotARegistry", IS_NO_REGISTRY),
    ):
        await cluster.change({"image": image})
        assert await cluster.until_condition(Type.STALLED, "True", reason) == message
        await cluster.until_condition(Type.AVAILABLE, "True", "Serving")
        assert (await client.serves()).yes
        assert await strategy(cluster) == WITHOUT_A_GAP
    cluster.kubelet.place = ""
    await cluster.change({"image": None})
    await cluster.until_ready()
    assert await nodes_of(cluster) == {"node-a"}


async def test_a_drained_node(cluster: Cluster) -> None:
    """A pod that is evicted comes up on another node, on its volume, without anybody's help."""
    await cluster.ready()
    (pod,) = await cluster.pods()
    cluster.kubelet.place = "node-b"
    await cluster.delete(kinds.POD, pod["metadata"]["name"])

    async def has_moved() -> bool:
        return await nodes_of(cluster) == {"node-b"}

    await cluster.until(has_moved, what="the pod has moved")
    await cluster.until_ready()


async def test_a_volume_for_one_pod(cluster: Cluster) -> None:
    """Where only one pod may mount the volume, the last one stops before the next starts."""
    await cluster.ready({"storage": {"accessMode": "ReadWriteOncePod"}})
    assert await strategy(cluster) == {"type": "Recreate"}
    await cluster.change({"image": GOOD})
    await cluster.until_ready()
    assert await strategy(cluster) == {"type": "Recreate"}


BOTH = ("one", "two")


async def upgraded(cluster: Cluster, image: str) -> list[str]:
    """The registries whose Deployment asks for this image."""
    found = {name: await cluster.get(kinds.DEPLOYMENT, name) for name in BOTH}
    return [name for name, obj in found.items() if obj["spec"]["template"]["spec"]["containers"][0]["image"] == image]


async def queued(cluster: Cluster, reason: str, image: str) -> tuple[str, str]:
    """Wait until one registry is rolled out with this image and the other waits, for this reason; (first, other)."""

    async def one_waits() -> tuple[str, str]:
        (first,) = await upgraded(cluster, image) or ("",)
        assert first, "none is upgraded"
        (other,) = {*BOTH} - {first}
        condition = await cluster.condition(Type.RECONCILING, other)
        assert condition, "none waits"
        assert condition.reason == reason, condition
        state = "is not complete" if reason == "UpgradeQueued" else "fails"
        assert condition.message == (
            f"the operator's upgrade rolls one registry at a time: the rollout of {cluster.namespace}/{first} {state}"
        )
        return first, other

    return await cluster.until(one_waits, what=f"one has {image}, the other is {reason}")


async def test_an_upgrade_takes_one_registry_at_a_time(cluster: Cluster) -> None:
    """A new default image reaches every registry; the next one's turn is when the last one serves again."""
    for name in BOTH:
        await cluster.ready(name=name)
    cluster.kubelet.hold(True)
    cluster.operator.start(f"--registry-image={GOOD}")
    _, other = await queued(cluster, "UpgradeQueued", GOOD)
    async with cluster.requests() as requests:
        cluster.kubelet.hold(False)
        for name in BOTH:
            await cluster.until_ready(name)
    assert await upgraded(cluster, GOOD) == [*BOTH]
    made = [each for _, each in requests]
    served = next(index for index, each in enumerate(made) if each.startswith("patch pods/status "))
    assert served < made.index(f"patch deployments {cluster.namespace}/{other}")


async def test_an_upgrade_stops_at_the_first_failure(cluster: Cluster) -> None:
    """An image that cannot be pulled reaches one registry, which goes on serving as it was; going back cures it."""
    for name in BOTH:
        await cluster.ready(name=name)
    cluster.operator.start(f"--registry-image={ABSENT}")
    _, other = await queued(cluster, "UpgradeHalted", ABSENT)
    for name in BOTH:
        await cluster.until_condition(Type.AVAILABLE, "True", "Serving", name=name)
        assert (await (await cluster.http(name)).serves()).yes

    # Its owner's own change does not queue.
    await cluster.change({"image": GOOD}, name=other)
    await cluster.until_ready(other)

    cluster.operator.start()
    for name in BOTH:
        await cluster.until_ready(name)
