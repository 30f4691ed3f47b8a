"""One node with 200 registries: how long an agent takes that meets them all at once, and how far one change reaches."""

import time
from pathlib import Path

from tests.bench.agent.place import place
from tests.bench.measure import Figure

REGISTRIES = 200


async def figures() -> list[Figure]:
    """The first full pass, and what a change of one registry leaves changed."""
    async with place(REGISTRIES) as here:
        certs_d = here.world.node.certs_d
        began = time.monotonic()
        with here.world.agent():
            passed = await here.until_trusted(within=300) - began
            one = here.registries[REGISTRIES // 2]
            before = _stamps(certs_d)
            took = await here.change(one)
            after = _stamps(certs_d)
        changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
        own = {path for path in changed if path.parts[0] in one.hosts}
        assert {path.parts[0] for path in own} == set(one.hosts)
        return [
            Figure(
                f"{REGISTRIES} registries on one node: first full pass", passed, 60, "s",
                f"from the start of the agent; {sum(path.name == 'hosts.toml' for path in before)} names proven",
            ),
            Figure(
                f"{REGISTRIES} registries on one node: files and directories of others that a change of one touches",
                len(changed - own), 0, "", f"{len(own)} of its own, proven in {took:.2f} s",
            ),
        ]  # fmt: skip


def _stamps(top: Path) -> dict[Path, tuple[int, int, int]]:
    """Of each file and directory: which one it is, and when the kernel saw it change."""
    found = {}
    for path in top.rglob("*"):
        status = path.lstat()
        found[path.relative_to(top)] = (status.st_ino, status.st_mtime_ns, status.st_ctime_ns)
    return found
