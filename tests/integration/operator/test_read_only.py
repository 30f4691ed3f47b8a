"""A registry that takes no writes for now: pulls go on, and nobody who pulls notices the way there and back."""

import asyncio

import aiohttp
import pytest

from private_registry.api.conditions import Type
from tests import readme
from tests.integration.operator.load import Load
from tests.integration.operator.parts.cluster import Cluster
from tests.kubectl import Kubectl

ASKED: dict[str, object] = {"storage": {"readOnly": True}}


async def test_pushes_are_refused_as_long_as_it_is_asked_for(cluster: Cluster, kubectl: Kubectl) -> None:
    """The condition says why, Ready stays as it is, every write gets its 405, and afterwards all is as before."""
    before = await cluster.ready()
    async with Load(cluster, pushes=False) as load:
        (command,) = readme.day_two("refuse pushes for a while")
        await asyncio.to_thread(readme.run, kubectl, command, cluster.namespace)
        assert await cluster.until_condition(Type.READ_ONLY, "True", "Requested") == "spec.storage.readOnly is true"
        await cluster.until_ready()
        with pytest.raises(aiohttp.ClientResponseError, match="405"):
            await load.push()
        assert await cluster.until_event("ReadOnly")
        await load.more()
        await cluster.change({"storage": {"readOnly": False}})
        await cluster.until_event("Writable")
        await cluster.until_ready()
        await load.push()
        await load.more()
    assert load.failures == []
    after = await cluster.registry()
    assert Type.READ_ONLY not in {each.type for each in after.status.conditions}
    assert after.status.entry_hash == before.status.entry_hash
    assert not [reason for reason in await cluster.events() if reason.startswith("Not")]


async def test_one_that_is_made_read_only(cluster: Cluster) -> None:
    """From the first moment: it serves, is ready, and takes nothing."""
    await cluster.ready(ASKED)
    await cluster.until_condition(Type.READ_ONLY, "True", "Requested")
    assert await (await cluster.http()).catalog() == []
