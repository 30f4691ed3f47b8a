"""From a trust entry to a pull that works, with a real containerd and a real registry."""

from tests.integration.agent_world import World


async def test_a_registry_with_tls_is_trusted(world: World) -> None:
    """An entry appears, and the node pulls from the registry by each of its names."""
    team = world.serve()
    await team.push("busybox")
    with world.agent():
        await world.publish(team)
        await world.until_trusted(team)
        for host in team.hosts:
            answer = await world.pull(f"{host}/busybox:v1")
            assert answer.code == "OK", answer
