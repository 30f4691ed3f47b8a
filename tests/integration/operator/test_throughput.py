"""The comparison that `make bench` makes of pushes and pulls. No figure is taken here: this proxy is no kube-proxy."""

from pathlib import Path

from private_registry.api import names
from private_registry.kube import kinds
from tests.bench.registry import throughput
from tests.integration.container import content
from tests.integration.operator.parts.cluster import Cluster


async def test_a_service_is_compared_with_a_bare_process(cluster: Cluster, tmp_path: Path) -> None:
    """Pushes and pulls of each size go through the Service, and past it."""
    registry = await cluster.ready({"auth": {"mode": "None"}})
    secret = content(await cluster.get(kinds.SECRET, names.certificate_secret("team")))
    cert, key, ca = (secret[name].decode() for name in ("tls.crt", "tls.key", "ca.crt"))
    where = throughput.Configuration(registry.status.cluster_ips[0], names.PORT, cert, key, ca, str(tmp_path / "bare"))
    figures = await throughput.figures(where, {1: 1, 2: 1})
    assert [figure.name.partition(" through")[0] for figure in figures] == [
        *("push of 1 MB", "pull of 1 MB"),
        *("push of 2 MB", "pull of 2 MB"),
    ]
    assert all(0 < figure.value < 1000 for figure in figures), figures
