"""An agent that is killed before any one step of its work, and what the next agent makes of it."""

import itertools
import re
from pathlib import Path

from private_registry.agent import files
from tests.killing import STEPS, Crash, killed_at
from tests.unit.node.changes import CYCLE
from tests.unit.node.whole_node import WholeNode, changed


async def test_killed_before_any_step_the_next_agent_reaches_the_same_end(node: WholeNode) -> None:
    """A registry comes, changes and goes: readers find whole files, the next agent finishes it, and nothing is left."""
    states = await node.walk(CYCLE)
    for step in itertools.count(1):
        survived = 0
        for entries, before, after in zip(CYCLE, states, states[1:], strict=False):
            try:
                with killed_at(step):
                    async with node.agent() as agent:
                        await node.converge(agent, entries)
                survived += 1
            except Crash:
                node.is_whole([before, after])
                async with node.agent() as agent:
                    assert await node.converge(agent, entries) == [], step
            assert changed(after, node.state) == {}, step
        if survived == len(CYCLE):
            break
    assert step > 45


def test_every_step_that_changes_something_is_among_those() -> None:
    """Whatever call the writers make of the operating system: they are killed before it, or it only looks."""
    looks = {"close", "fstat", "getegid", "geteuid", "listdir", "read", "readlink", "stat", "strerror"}
    elsewhere = {"fdopen", "fsync", "pwrite"}
    made = {
        call
        for path in Path(files.__path__[0]).glob("*.py")
        for call in re.findall(r"\bos\.([a-z]+)\(", path.read_text())
    }
    assert made - looks - elsewhere <= set(STEPS)
