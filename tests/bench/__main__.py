"""Takes every figure on the kind cluster that `make cluster` made, and prints the table.

    python -m tests.bench [--idle SECONDS] [--runs N]

Ends with status 1 when a bar is missed.
"""

import argparse
import asyncio
import sys
from pathlib import Path

from private_registry.kube.client import Kube
from private_registry.kube.login import login
from tests.bench import latency, standing
from tests.bench.measure import Figure
from tests.cluster import versions
from tests.cluster.kind import Cluster
from tests.kubectl import Kubectl
from tests.story import Story


async def figures(cluster: Cluster, idle: float, runs: int) -> list[Figure]:
    """All figures, in the order of the table."""
    async with Kube(login(str(cluster.kubeconfig))) as kube:
        taken = await latency.figures(kube, cluster, runs)
        return [*taken, *await standing.figures(kube, cluster, idle)]


def main() -> int:
    """Take the figures; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--idle", type=float, default=600, help="seconds in which nothing may be written")
    parser.add_argument("--runs", type=int, default=20, help="runs of each time")
    arguments = parser.parse_args()
    cluster = Cluster()
    kubectl = Kubectl(str(cluster.kubectl_program()), cluster.kubeconfig)
    Story(kubectl, versions.OPERATOR_IMAGE).install()
    taken = asyncio.run(figures(cluster, arguments.idle, arguments.runs))
    print("| figure | bar | measured | |\n|---|---|---|---|")
    for figure in taken:
        print(figure.row())
    return 0 if all(figure.met for figure in taken) else 1


if __name__ == "__main__":
    assert Path("manifests").is_dir(), "run it from the top of the checkout"
    sys.exit(main())
