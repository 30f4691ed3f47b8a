"""A node that its administrator has opted in: `config_path` is set, containerd restarted in turn, all of it undone."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import pytest_asyncio

from private_registry.agent.health import Health
from private_registry.agent.loop import NodeLoop
from private_registry.agent.node import Node
from private_registry.agent.report import Reporter
from private_registry.agent.runtimes.systemd import NodeCommandError
from private_registry.api import names
from private_registry.kube import kinds
from private_registry.kube.client import Kube
from tests.cluster import versions
from tests.cluster.commands import CommandError, output
from tests.cluster.processes import ControlPlane
from tests.cluster.processes.process import program
from tests.integration.agent_node import NodeContainerd
from tests.integration.agent_world import RULES, Served, World
from tests.trees import tree
from tests.waiting import aeventually

NEWEST_UNSET = "v2.1.9"
READ_NOTHING = [versions.DEBIAN_CONTAINERD, "v1.7.35", "v2.0.14", NEWEST_UNSET]
"""The versions that read no directory where none is configured."""
UNIT = "containerd.service"


class Commands:
    """The node's programs; in place of systemd, whoever has started this containerd restarts it."""

    def __init__(self, node: NodeContainerd) -> None:
        self.node = node
        self.system = "ID=debian\n"
        self.restarts = 0
        self.fails: list[Callable[[], None]] = []
        """What the next restarts do instead; each may raise NodeCommandError."""
        self.hold = asyncio.Event()
        """Restarts wait for it."""
        self.hold.set()

    async def os_release(self) -> str:
        return self.system

    async def dump(self, pid: int, config: PurePosixPath) -> str:
        enter = ("nsenter", f"--target={pid}", "--mount", "--")
        binary = program(f"containerd-{self.node.version}", "containerd")
        try:
            return await asyncio.to_thread(output, *enter, binary, f"--config={config}", "config", "dump")
        except CommandError as error:
            raise NodeCommandError(str(error)) from None

    async def unit(self, pid: int) -> str:
        assert Path(f"/proc/{pid}/comm").read_text() == "containerd\n"  # noqa: ASYNC240
        return UNIT

    async def restart(self, unit: str) -> None:
        assert unit == UNIT
        self.restarts += 1
        await self.hold.wait()
        if self.fails:
            await asyncio.to_thread(self.fails.pop(0))
        else:
            await asyncio.to_thread(self.node.restart)


class Opted:
    """A world whose node reads no directory, with an agent in this process that may restart its containerd."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.commands = Commands(world.node)

    @contextlib.asynccontextmanager
    async def agent(self) -> AsyncIterator[None]:
        """It is killed at the end, wherever it is."""
        async with self.world.as_agent() as kube:
            task = asyncio.create_task(self._loop(kube).run())
            try:
                yield
                assert not task.done(), task.exception()
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    def _loop(self, kube: Kube) -> NodeLoop:
        world = self.world
        node = Node(world.node.host_root, wrote=lambda _: None)
        return NodeLoop(
            kube,
            node_name=world.name,
            agents_namespace=world.namespace,
            rules=RULES,
            node=node,
            reporter=Reporter(world.kube, world.name, lambda: "2026-01-01T00:00:00Z"),
            health=Health(),
            proof_interval=600,
            commands=self.commands,
        )

    async def label(self, value: str | None) -> None:
        """As the operator passes it on."""
        await self._spec({"nodeLabels": {names.RUNTIME_CONFIG: value}})

    async def turn(self) -> str:
        """Give the node the turn that it has asked for, as the operator does; return the id of the edit."""
        edit: str = (await self.until("Waiting"))["edit"]
        await self._spec({"restartTurn": edit})
        return edit

    async def _spec(self, spec: dict[str, Any]) -> None:
        await self.world.kube.merge(kinds.NODE_TRUST, None, self.world.name, {"spec": spec})

    async def until(self, state: str, *, saying: str = "") -> dict[str, Any]:
        """Wait until the node says this of its opt-in."""

        async def said() -> dict[str, Any]:
            config = (await self.world.status()).get("runtimeConfig") or {}
            assert (config.get("state"), saying in config.get("message", "")) == (state, True), config
            return dict(config)

        return await aeventually(said, within=20, every=0.05, what=f"{self.world.name} is {state}")

    async def until_nothing_is_said(self) -> None:
        async def nothing() -> bool:
            assert "runtimeConfig" not in await self.world.status()
            return True

        await aeventually(nothing, within=20, every=0.05, what="nothing is said of the opt-in any more")

    async def until_undone(self, served: Served) -> None:
        await self.world.withdraw(served)
        await self.world.until_gone(served.key)


@pytest_asyncio.fixture
async def opted(
    control_plane: ControlPlane, kube: Kube, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[Opted]:
    """A node that reads no directory, of the version that the test asks for."""
    version = getattr(request, "param", NEWEST_UNSET)
    with NodeContainerd(tmp_path / "node", version=version, config_path="") as node:
        world = World(control_plane, kube, node, tmp_path)
        await world.set_up()
        try:
            yield Opted(world)
        finally:
            world.tear_down()


@pytest.mark.parametrize("opted", READ_NOTHING, indirect=True)
async def test_opted_in_and_out(opted: Opted) -> None:
    """Nothing is touched before the label and before its turn; then one restart, and it pulls; at the end no trace."""
    world, commands = opted.world, opted.commands
    served = world.serve()
    before = tree(world.node.etc)
    config = world.node.config_file.read_bytes()
    async with opted.agent():
        await world.publish(served)
        await world.until(served.key, "ConfigPathUnset", saying=f"kubectl label node {world.name} ")
        assert tree(world.node.etc) == before
        await opted.label("manage")
        await world.until(served.key, "ConfigPathUnset", saying="restarted when this node's turn has come")
        assert (world.node.config_file.read_bytes(), commands.restarts) == (config, 0)

        edit = await opted.turn()
        await world.until_trusted(served)
        assert await opted.until("Managed") == {"state": "Managed", "edit": edit, "message": ""}
        assert commands.restarts == 1
        added = set(world.node.config_file.read_text().splitlines()) - set(config.decode().splitlines())
        assert [line.strip() for line in added] == ['config_path = "/etc/containerd/certs.d"']
        await served.push("team/app")
        assert (await world.node.pull(f"{served.hosts[0]}/team/app:v1")).code == "OK"

        await opted.until_undone(served)
        assert tree(world.node.etc) == before
    assert commands.restarts == 1


async def test_a_label_that_is_taken_away(opted: Opted) -> None:
    """The file is as it was at once; containerd is not restarted for it, and the agent says how it will be."""
    world = opted.world
    served = world.serve()
    config = world.node.config_file.read_bytes()
    await opted.label("manage")
    async with opted.agent():
        await world.publish(served)
        await opted.turn()
        await world.until_trusted(served)
        await opted.label(None)
        await opted.until_nothing_is_said()
        await world.until(served.key, "ConfigPathUnset", saying=f"kubectl label node {world.name} ")
    assert (world.node.config_file.read_bytes(), opted.commands.restarts) == (config, 1)


async def test_a_label_that_was_taken_away_while_no_agent_ran(opted: Opted) -> None:
    """The agent that starts then puts back what the one before it did, and looks again at what containerd reads."""
    world = opted.world
    served = world.serve()
    config = world.node.config_file.read_bytes()
    await opted.label("manage")
    async with opted.agent():
        await world.publish(served)
        await opted.turn()
        await world.until_trusted(served)
    await opted.label(None)
    async with opted.agent():
        await world.until(served.key, "ConfigPathUnset", saying=f"kubectl label node {world.name} ")
    assert (world.node.config_file.read_bytes(), opted.commands.restarts) == (config, 1)


async def test_what_somebody_else_has_written_since_stays(opted: Opted) -> None:
    """Where the file has changed meanwhile, only the setting goes."""
    world = opted.world
    served = world.serve()
    config = world.node.config_file.read_text()
    await opted.label("manage")
    async with opted.agent():
        await world.publish(served)
        await opted.turn()
        await world.until_trusted(served)
        since = world.node.config_file.read_text() + '\n[metrics]\n  address = ""\n'
        world.node.config_file.write_text(since)
        await opted.until_undone(served)
    assert world.node.config_file.read_text() == config + '\n[metrics]\n  address = ""\n'


async def test_a_file_that_somebody_has_replaced(opted: Opted) -> None:
    """As a tool does that writes the whole file anew: it is asked for another turn, and set in the new one."""
    world = opted.world
    served = world.serve()
    await opted.label("manage")
    async with opted.agent():
        await world.publish(served)
        await opted.turn()
        await world.until_trusted(served)
        world.node.configure("", head="# new")
        config = world.node.config_file.read_bytes()
        world.node.restart()
        await opted.turn()
        await world.until_trusted(served)
        await opted.until_undone(served)
    assert (world.node.config_file.read_bytes(), opted.commands.restarts) == (config, 2)


async def test_a_containerd_that_does_not_come_back(opted: Opted) -> None:
    """The file is as it was and containerd runs again; the node says what happened and does not try once more."""
    world, commands = opted.world, opted.commands
    served = world.serve()
    before = world.node.config_file.read_bytes()

    def fail() -> None:
        world.node.stop()
        raise NodeCommandError("systemctl restart: Job for containerd.service failed")

    commands.fails = [fail]
    await opted.label("manage")
    async with opted.agent():
        await world.publish(served)
        edit = await opted.turn()
        said = await opted.until("Failed", saying="Job for containerd.service failed")
        assert said["edit"] == edit
        assert "the file is as it was, and containerd runs with it" in said["message"]
        assert said["message"].endswith(f"kubectl label node {world.name} privateregistry.dev/runtime-config-")
        await world.until(served.key, "ConfigPathUnset", saying="Job for containerd.service failed")
        assert world.node.config_file.read_bytes() == before
    async with opted.agent():
        await world.until(served.key, "ConfigPathUnset", saying="Job for containerd.service failed")
        await opted.until("Failed")
        assert commands.restarts == 2

        await opted.label(None)
        await opted.until_nothing_is_said()
        await opted.label("manage")
        await world.until_trusted(served)
    assert commands.restarts == 3


@pytest.mark.parametrize("fails", [False, True], ids=["on the way there", "on the way back"])
async def test_killed_while_containerd_restarts(opted: Opted, *, fails: bool) -> None:
    """The next agent knows what the last was about, and finishes it."""
    world, commands = opted.world, opted.commands
    served = world.serve()
    before = world.node.config_file.read_bytes()

    def fail() -> None:
        commands.hold.clear()
        raise NodeCommandError("it failed")

    commands.fails = [fail] if fails else []
    if not fails:
        commands.hold.clear()
    await opted.label("manage")

    async def restarting() -> bool:
        return commands.restarts == 1 + fails

    async with opted.agent():
        await world.publish(served)
        await opted.turn()
        await aeventually(restarting, within=20, every=0.05, what="containerd is being restarted")
    commands.hold.set()
    async with opted.agent():
        if fails:
            await opted.until("Failed", saying="it failed")
            assert world.node.config_file.read_bytes() == before
        else:
            await world.until_trusted(served)
        await opted.until_undone(served)
    assert world.node.config_file.read_bytes() == before
    assert {each.name for each in (world.node.etc / "containerd").iterdir()} == {"certs.d", "config.toml"}


@pytest.mark.parametrize(
    ("system", "saying"),
    [
        ("ID=talos\n", "this is Talos: set config_path by"),
        ("NAME=x\nID='flatcar'\n", "this is Flatcar: have containerd.service read"),
        ('ID="cos"\n', "this is GKE: set registryHosts"),
        ("ID=bottlerocket\n", "this is Bottlerocket: set settings.container-registry"),
    ],
)
async def test_a_system_that_its_vendor_configures(opted: Opted, system: str, saying: str) -> None:
    """Nothing is changed; the message has the vendor's own setting."""
    world = opted.world
    opted.commands.system = system
    served = world.serve()
    config = world.node.config_file.read_bytes()
    await opted.label("manage")
    async with opted.agent():
        await world.publish(served)
        await opted.until("Refused", saying=saying)
        await world.until(served.key, "ConfigPathUnset", saying=saying)
        await opted.until_undone(served)
    assert (world.node.config_file.read_bytes(), opted.commands.restarts) == (config, 0)
