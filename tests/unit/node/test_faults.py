"""A disk that is full, read-only or broken from any one step of an agent's work on, and well again later."""

import errno
import itertools
import os
import re

import pytest

from private_registry.agent.keeper import verdict_of
from private_registry.trust.reasons import Reason
from tests.failing import failing_from
from tests.unit.node.changes import CYCLE
from tests.unit.node.whole_node import WholeNode, changed


@pytest.mark.parametrize("node", ["half"], indirect=True)
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS, errno.EIO], ids=["full", "read-only", "broken"])
async def test_what_was_right_stays_right_and_the_rest_is_reported(node: WholeNode, error: int) -> None:
    """Readers find whole files all the time, the reason names a path of the node, and the next look makes it good."""
    states = await node.walk(CYCLE)
    for step in itertools.count(1):
        survived = 0
        async with node.agent() as agent:
            for entries, before, after in zip(CYCLE, states, states[1:], strict=False):
                with failing_from(step, error) as failures:
                    said = [verdict_of(each) for each in await node.converge(agent, entries)]
                node.is_whole([before, after])
                if failures.count:
                    assert said, step
                else:
                    survived += 1
                for verdict in said:
                    assert verdict.reason is Reason.FILE_SYSTEM_ERROR, (step, verdict)
                    assert re.search(rf": /etc(/[^ ]+)?: {os.strerror(error)}$", verdict.message), (step, verdict)
                    assert ".private-registry-operator." not in verdict.message, (step, verdict)
                assert await node.converge(agent, entries) == [], step
                await agent.survey()
                assert changed(after, node.state) == {}, step
        if survived == len(CYCLE):
            break
    assert step > 50
