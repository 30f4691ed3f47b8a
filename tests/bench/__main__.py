"""Takes the figures and prints their table: the cluster's on the kind cluster of `make cluster`, the agent's without.

    python -m tests.bench [--idle SECONDS] [--runs N] [PART ...]

A part is one of `cluster` (or of it `latency`, `standing`, `collection`, `throughput`), `agent` (or of it
`agent-standing`, `agent-crowd`, `agent-pulls`), `memory`, a registry's, and `report`, of retention; without any, all
are taken. Ends with status 1 when a bar is missed.
"""

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from private_registry.kube.client import Kube
from private_registry.kube.login import login
from tests.bench import collection, latency, standing
from tests.bench.agent import crowd, pulls
from tests.bench.agent import standing as agent_standing
from tests.bench.measure import Figure
from tests.bench.registry import memory, on_cluster, report
from tests.cluster import versions
from tests.cluster.kind import Cluster
from tests.kubectl import Kubectl
from tests.story import Story

OnCluster = Callable[[Kube, Cluster, argparse.Namespace], Awaitable[list[Figure]]]
Alone = Callable[[argparse.Namespace], Awaitable[list[Figure]]]

OF_CLUSTER: dict[str, OnCluster] = {
    "latency": lambda kube, cluster, asked: latency.figures(kube, cluster, asked.runs),
    "standing": lambda kube, cluster, asked: standing.figures(kube, cluster, asked.idle),
    "collection": lambda _kube, cluster, _asked: collection.figures(cluster),
    "throughput": lambda kube, cluster, _: on_cluster.figures(kube, cluster),
}
ALONE: dict[str, Alone] = {
    "agent-standing": lambda asked: agent_standing.figures(asked.idle),
    "agent-crowd": lambda _: crowd.figures(),
    "agent-pulls": lambda _: pulls.figures(),
    "memory": lambda _: memory.figures(),
    "report": lambda _: report.figures(),
}
"""Those that need no cluster."""
GROUPS = {"cluster": OF_CLUSTER.keys(), "agent": {part for part in ALONE if part.startswith("agent-")}}


async def figures_alone(asked: argparse.Namespace, parts: set[str]) -> list[Figure]:
    """The parts that are asked for, in the order of the table."""
    return [figure for part in ALONE if part in parts for figure in await ALONE[part](asked)]


async def figures_of_cluster(cluster: Cluster, asked: argparse.Namespace, parts: set[str]) -> list[Figure]:
    """The parts that are asked for, in the order of the table."""
    async with Kube(login(str(cluster.kubeconfig))) as kube:
        return [
            figure for part in OF_CLUSTER if part in parts for figure in await OF_CLUSTER[part](kube, cluster, asked)
        ]


def main() -> int:
    """Take the figures; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--idle", type=float, default=600, help="seconds in which nothing may be done")
    parser.add_argument("--runs", type=int, default=20, help="runs of each time on the cluster")
    names = [*GROUPS, *OF_CLUSTER, *ALONE]
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"one of {', '.join(names)}")
    asked = parser.parse_args()
    if strange := set(asked.parts) - set(names):
        parser.error(f"there is no part {', '.join(sorted(strange))}")
    parts = {each for part in asked.parts or [*OF_CLUSTER, *ALONE] for each in GROUPS.get(part, (part,))}
    taken: list[Figure] = []
    if parts & OF_CLUSTER.keys():
        cluster = Cluster()
        kubectl = Kubectl(str(cluster.kubectl_program()), cluster.kubeconfig)
        Story(kubectl, versions.OPERATOR_IMAGE).install()
        taken += asyncio.run(figures_of_cluster(cluster, asked, parts))
    taken += asyncio.run(figures_alone(asked, parts))
    print("| figure | bar | measured | |\n|---|---|---|---|")
    for figure in taken:
        print(figure.row())
    return 0 if all(figure.met for figure in taken) else 1


if __name__ == "__main__":
    assert Path("manifests").is_dir(), "run it from the top of the checkout"
    sys.exit(main())
