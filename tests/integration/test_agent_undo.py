"""What was trusted is undone to the byte when that is meant, and not at all when it is not."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from private_registry.api import names
from private_registry.kube import kinds
from tests.cluster.commands import output
from tests.cluster.processes import ControlPlane
from tests.integration.agent_node import cleanup
from tests.integration.agent_world import Served, World
from tests.trees import tree
from tests.waiting import aeventually


async def trusted_before(world: World) -> Served:
    """A registry that an agent, which has ended, left trusted on the node."""
    team = world.serve()
    with world.agent():
        await world.publish(team)
        await world.until_trusted(team)
    return team


@pytest.fixture
def foreign(world: World) -> dict[str, tuple[Any, ...]]:
    """The root as it was, with things of other people in it."""
    for name in ("_default", "docker.io", "ghcr.io_443_"):
        (world.node.certs_d / name).mkdir()
        (world.node.certs_d / name / "hosts.toml").write_text('server = "https://mirror.example.com"\n')
    (world.node.certs_d / "link").symlink_to("/etc/passwd")
    return tree(world.node.etc)


class TestMeant:
    """The entry is gone on purpose: nothing of it is left."""

    async def test_the_node_is_byte_for_byte_as_it_was(self, world: World, foreign: dict[str, tuple[Any, ...]]) -> None:
        """Two registries come, change and go; names, bytes, modes and times of everything else never change."""
        team, other = (
            world.serve(),
            world.serve("other", certified=["other.registries.svc"], server_name="other.registries.svc"),
        )
        with world.agent():
            for each in (team, other):
                await world.publish(each)
            for each in (team, other):
                await world.until_trusted(each)
            now = tree(world.node.etc)
            assert {path: kept for path, kept in now.items() if path in foreign and path != "hosts"} == {
                path: kept for path, kept in foreign.items() if path != "hosts"
            }
            await world.withdraw(team)
            await world.until_gone(team.key)
            await world.withdraw(other)
            await world.until_gone(other.key)
        after = tree(world.node.etc)
        assert after.pop("hosts")[:-1] == foreign.pop("hosts")[:-1]  # its bytes and mode; the time is that of the edit
        assert after == foreign

    async def test_a_selector_moves_a_node_out_and_in(self, world: World) -> None:
        """Labels of the node decide, as the operator copied them."""
        team = world.serve(spec={"nodeTrust": {"nodeSelector": {"pool": "build"}}})
        with world.agent():
            await world.publish(team)
            for labels, trusted in (({"pool": "build"}, True), ({"pool": None}, False), ({"pool": "build"}, True)):
                await world.kube.merge(kinds.NODE_TRUST, None, world.name, {"spec": {"nodeLabels": labels}})
                await (world.until_trusted(team) if trusted else world.until_gone(team.key))
                assert bool(tree(world.node.certs_d)) is trusted

    async def test_a_registry_that_went_while_the_agent_was_away(self, world: World) -> None:
        """A node that comes back after the registry is gone cleans itself."""
        team = await trusted_before(world)
        await world.withdraw(team)
        with world.agent():
            await world.until_gone(team.key)
        assert tree(world.node.certs_d) == {}

    async def test_files_that_no_entry_explains_go(self, world: World) -> None:
        """Even if the NodeTrust knows nothing of them: they are listed, removed, and listed no more."""
        team = await trusted_before(world)
        await world.withdraw(team)
        node_trust = await world.kube.get(kinds.NODE_TRUST, None, world.name)
        assert node_trust is not None
        await world.kube.delete(node_trust)
        await world.add_node_trust()
        with world.agent() as agent:
            await agent.until_it_says("registries/team: undone")
            await world.until_gone(team.key)
        assert tree(world.node.certs_d) == {}

    async def test_the_row_stays_until_the_last_byte_is_gone(self, world: World) -> None:
        """A file that cannot be removed is reported, and the operator waits; an absent row proves a clean node."""
        team = world.serve()
        stuck = world.node.certs_d / team.hosts[0] / "hosts.toml"
        with world.agent():
            await world.publish(team)
            await world.until_trusted(team)
            await asyncio.to_thread(output, "chattr", "+i", stuck.parent)
            try:
                await world.withdraw(team)
                await world.until(team.key, "Undoing", saying="certs.d: Operation not permitted")
                assert stuck.exists()
            finally:
                await asyncio.to_thread(output, "chattr", "-i", stuck.parent)
            await world.until_gone(team.key)
        assert tree(world.node.certs_d) == {}

    async def test_clean_up_needs_nobody(self, world: World, foreign: dict[str, tuple[Any, ...]]) -> None:
        """With the operator gone for good, one command leaves each node as it was."""
        other = world.serve("other", certified=["other.registries.svc"], server_name="other.registries.svc")
        await trusted_before(world)
        with world.agent():
            await world.publish(other)
            await world.until_trusted(other)
        said = cleanup(world.node)
        after = tree(world.node.etc)
        assert after.pop("hosts")[:-1] == foreign.pop("hosts")[:-1]
        assert after == foreign
        assert "removed what was of registries/team" in said
        assert "removed what was of registries/other" in said


class TestNotMeant:
    """The entry is not to be seen, for a reason that says nothing about the registry: nothing changes."""

    async def test_without_the_marker_nothing_is_undone(self, world: World) -> None:
        """Somebody deleted everything in the agents' namespace; once the marker is back, what is gone is undone."""
        team = world.serve()
        with world.agent() as agent:
            await world.publish(team)
            await world.until_trusted(team)
            before = tree(world.node.certs_d)
            marker = await world.kube.get(kinds.CONFIG_MAP, world.namespace, names.COMPLETE)
            assert marker is not None
            await world.kube.delete(marker)
            await world.withdraw(team)
            await agent.until_it_says("nothing is undone: the ConfigMap complete")
            assert tree(world.node.certs_d) == before
            assert (await world.row(team.key) or {})["trusted"] is True
            await world.mark()
            await world.until_gone(team.key)
        assert tree(world.node.certs_d) == {}

    async def test_a_namespace_that_is_being_deleted_undoes_nothing(
        self, world: World, control_plane: ControlPlane
    ) -> None:
        """Its entries vanish with it, and the marker may be the last to go."""
        team = world.serve()
        with world.agent() as agent:
            await world.publish(team)
            await world.until_trusted(team)
            before = tree(world.node.certs_d)
            namespace = await world.kube.get(kinds.NAMESPACE, None, world.namespace)
            assert namespace is not None
            control_plane.controllers.stop()  # they empty it: here the entry goes first
            try:
                await world.kube.delete(namespace)
                await world.withdraw(team)
                await agent.until_it_says("nothing is undone: the ConfigMap complete or its namespace is gone")
                assert await world.kube.get(kinds.CONFIG_MAP, world.namespace, names.COMPLETE)
            finally:
                control_plane.controllers.start()
            await aeventually(world.is_empty, within=20, what="the namespace is empty")
            assert tree(world.node.certs_d) == before
            assert (await world.row(team.key) or {})["trusted"] is True

    async def test_an_api_server_that_is_away_undoes_nothing(self, world: World) -> None:
        """Nobody answers, and an agent that starts then waits."""
        await trusted_before(world)
        before = tree(world.node.certs_d)
        with world.agent(api_port=1) as agent:
            await agent.until_it_says("configmaps: 0 Unreachable")
            assert tree(world.node.certs_d) == before

    async def test_without_a_node_trust_nothing_is_written(self, world: World) -> None:
        """There is nowhere to say it before: the agent waits for the operator to make one."""
        team = world.serve()
        node_trust = await world.kube.get(kinds.NODE_TRUST, None, world.name)
        assert node_trust is not None
        await world.kube.delete(node_trust)
        await world.publish(team)
        with world.agent() as agent:
            await aeventually(lambda: asyncio.to_thread(agent.get, "/healthz"), within=10, what="the agent serves")
            assert tree(world.node.certs_d) == {}
            await world.add_node_trust()
            await world.until_trusted(team)


class TestWithTheRightsOfAnAgent:
    """As the installation's own account, with each right taken away in turn."""

    @pytest_asyncio.fixture
    async def token(self, world: World) -> AsyncIterator[str]:
        """Of an account that may do nothing yet."""
        await world.kubectl("create", "serviceaccount", "agent")
        yield await world.kubectl("create", "token", "agent")
        for kind in ("clusterrole", "clusterrolebinding"):
            await world.kubectl("delete", kind, f"--selector=of={world.name}")

    async def allow(self, world: World, verbs: str, resource: str) -> None:
        """Give the account a right, in the whole cluster."""
        name = f"{world.name}-{resource.replace('/', '-')}"
        account = f"--serviceaccount={world.namespace}:agent"
        await world.kubectl("create", "clusterrole", name, f"--verb={verbs}", f"--resource={resource}")
        await world.kubectl("create", "clusterrolebinding", name, f"--clusterrole={name}", account)
        for kind in ("clusterrole", "clusterrolebinding"):
            await world.kubectl("label", kind, name, f"of={world.name}")

    async def test_a_list_that_is_forbidden_undoes_nothing(self, world: World, token: str) -> None:
        """And when it is allowed again, all goes on as if nothing had been."""
        team = await trusted_before(world)
        before = tree(world.node.certs_d)
        await self.allow(world, "get,list,watch", "nodetrusts.privateregistry.dev")
        await self.allow(world, "patch", "nodetrusts.privateregistry.dev/status")
        with world.agent("--service-cidr=127.96.0.0/16", token=token) as agent:
            await agent.until_it_says("configmaps: 403 Forbidden")
            assert tree(world.node.certs_d) == before
            await self.allow(world, "get,list,watch", "configmaps")
            other = world.serve("other")
            await world.publish(other)
            await world.until_trusted(other)
            # Whether its entry was taken away on purpose cannot be asked, so nothing is undone.
            await world.withdraw(team)
            await agent.until_it_says("it cannot be asked whether that is meant")
            assert before.items() <= tree(world.node.certs_d).items()

    async def test_nothing_is_on_the_node_before_the_api_server_knows(self, world: World, token: str) -> None:
        """The status says `Applying` before the first byte is written: as long as it cannot, nothing is."""
        team = world.serve()
        await world.publish(team)
        await self.allow(world, "get,list,watch", "nodetrusts.privateregistry.dev")
        await self.allow(world, "get,list,watch", "configmaps")
        with world.agent("--service-cidr=127.96.0.0/16", token=token) as agent:
            await agent.until_it_says(f"status of NodeTrust {world.name}: 403 Forbidden")
            assert tree(world.node.certs_d) == {}
            await self.allow(world, "patch", "nodetrusts.privateregistry.dev/status")
            await world.until_trusted(team)
