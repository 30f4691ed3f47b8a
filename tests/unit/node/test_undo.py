"""A node is as it was once the last registry has gone, whatever there was in between, and whoever takes it away."""

import asyncio

import pytest
from click.testing import CliRunner, Result

from private_registry.__main__ import main
from private_registry.trust import node_files
from tests.unit.node.changes import TEN
from tests.unit.node.whole_node import CRIO_HAS, DOCKER_HAS, EDITED, State, WholeNode, changed
from tests.unit.test_trust_node_files import RULES

HOSTS = "etc/containerd/certs.d/*registries.svc*"


async def test_ten_changes_leave_no_trace(node: WholeNode) -> None:
    """Of other people's files not a byte, mode, owner or time differs on the way; nor does the way show in ours."""
    states = await node.walk([*TEN, ()])
    for entries, on_the_way in zip(TEN, states[1:], strict=False):
        _, directly, _ = await node.walk([entries, ()])
        assert changed(on_the_way, directly).keys() <= set(EDITED)  # where ours are in the order in which they came


async def test_what_containerd_reads_no_more_goes_and_stays_away(node: WholeNode) -> None:
    """Also where its registries are looked at, and repaired, in the moment in which that is found out."""
    wanted = node_files.allocate(TEN[6], RULES).values()
    async with node.agent() as agent:
        assert await node.converge(agent, TEN[6]) == []
        assert list(node.host_root.glob(HOSTS))
        await asyncio.gather(agent.adopt(node.reading_nothing()), *map(agent.apply, wanted))
        assert not list(node.host_root.glob(HOSTS))


@pytest.mark.usefixtures("logging_as_before")
class TestCleanUp:
    """`private-registry agent --cleanup`, with nobody to ask and every runtime's files on the node."""

    @pytest.fixture
    def before(self, node: WholeNode) -> State:
        """The node as it was before the last agent, which has left the files of three registries on it."""
        before = node.state

        async def leave_them() -> None:
            async with node.agent() as agent:
                assert await node.converge(agent, TEN[6]) == []

        asyncio.run(leave_them())
        assert len(changed(before, node.state)) > 20
        return before

    def clean_up(self, node: WholeNode) -> Result:
        arguments = ["agent", "--cleanup", "--node-name=gone", f"--host-root={node.host_root}", "--log-format=text"]
        return CliRunner().invoke(main, arguments)

    def test_runtimes_that_run_have_forgotten_it(self, node: WholeNode, before: State) -> None:
        """Docker and CRI-O have read what is left when the command ends."""
        assert self.clean_up(node).exit_code == 0
        assert changed(before, node.state) == {}

    def test_runtimes_that_do_not_run_find_nothing(self, node: WholeNode, before: State) -> None:
        """It works on a node whose runtimes were stopped before."""
        node.engine.runs = False
        assert self.clean_up(node).exit_code == 0
        assert changed(before, node.state).keys() <= {DOCKER_HAS, CRIO_HAS}

    def test_what_is_in_the_way_is_named_and_the_rest_goes(self, node: WholeNode, before: State) -> None:
        """Somebody has broken daemon.json, and made a directory where we keep a copy: once that is mended, all goes."""
        ours = node.daemon_json.read_bytes()
        node.daemon_json.write_bytes(b"{")
        (node.hosts.parent / ".private-registry-operator-hosts").mkdir()
        result = self.clean_up(node)
        assert result.exit_code == 1
        assert "Error: [Errno 21] Is a directory: '/etc/hosts'" in result.output
        assert not list(node.host_root.glob("etc/*/certs.d/*registries.svc*"))
        node.daemon_json.write_bytes(ours)
        (node.hosts.parent / ".private-registry-operator-hosts").rmdir()
        assert self.clean_up(node).exit_code == 0
        assert changed(before, node.state) == {}
