"""Throughput through a Service of the kind cluster, measured on the node that has the registry's volume."""

import asyncio
import json
import subprocess
import sys
from dataclasses import asdict

from private_registry.api import names
from private_registry.kube import kinds
from private_registry.kube.client import Kube
from tests.bench.latency import ensure_namespace, is_ready, remove_registries
from tests.bench.measure import Figure, until
from tests.bench.registry.throughput import Configuration
from tests.cluster.commands import output
from tests.cluster.kind import Cluster
from tests.integration.container import content

NAMESPACE, NAME = "bench-throughput", "team"


async def figures(kube: Kube, cluster: Cluster) -> list[Figure]:
    """Of a registry that asks nobody, as the bare process does not."""
    await ensure_namespace(kube, NAMESPACE)
    await remove_registries(kube, NAMESPACE)
    about = {"name": NAME, "namespace": NAMESPACE}
    spec = {"auth": {"mode": "None"}, "storage": {"reclaimPolicy": "Delete"}}
    body = {"apiVersion": names.API_VERSION, "kind": "PrivateRegistry", "metadata": about, "spec": spec}
    await kube.create(body)
    nodes = len(cluster.nodes)
    await until(kube, kinds.PRIVATE_REGISTRY, NAMESPACE, lambda seen: is_ready(seen.get(NAME), nodes), within=180)
    registry = await kube.get(kinds.PRIVATE_REGISTRY, NAMESPACE, NAME)
    secret = await kube.get(kinds.SECRET, NAMESPACE, names.certificate_secret(NAME))
    assert registry
    assert secret
    pem = {name: value.decode() for name, value in content(secret).items()}
    taken = await asyncio.to_thread(
        _measure, cluster, registry["status"]["clusterIPs"][0], pem["tls.crt"], pem["tls.key"], pem["ca.crt"]
    )
    await remove_registries(kube, NAMESPACE)
    return taken


def _measure(cluster: Cluster, address: str, cert: str, key: str, ca: str) -> list[Figure]:
    """With the network of the node, and the bare process's data beside the volume's directory."""

    def said(*arguments: str) -> str:
        return cluster.kubectl("get", *arguments)

    node = said("pods", f"--namespace={NAMESPACE}", "--output=jsonpath={.items[0].spec.nodeName}")
    volume = said("pvc", f"--namespace={NAMESPACE}", "--output=jsonpath={.items[0].spec.volumeName}")
    path = said("pv", volume, "--output=jsonpath={.spec.hostPath.path}{.spec.local.path}")
    bare = f"{path}-bare"
    pid = output("docker", "inspect", "--format={{.State.Pid}}", node)
    asked = Configuration(address, names.PORT, cert, key, ca, f"/proc/{pid}/root{bare}")
    command = ["nsenter", f"--net=/proc/{pid}/ns/net", sys.executable, "-m", "tests.bench.registry.throughput"]
    try:
        done = subprocess.run(
            command, input=json.dumps(asdict(asked)), capture_output=True, text=True, check=False, timeout=1800
        )
    finally:
        cluster.exec_on_node(node, "rm", "-rf", bare)
    assert not done.returncode, done.stderr
    return [Figure(**each) for each in json.loads(done.stdout)]
