"""The `private-registry` command: `operator` runs in one pod, `agent` on every node, `report` beside each registry.

Each imports what it needs only when it runs: an agent would otherwise pay for the operator's libraries on every node,
and each registry for asyncio and TLS.
"""

import os
import re
import socket
from collections.abc import Callable
from functools import reduce
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import click

from private_registry import __version__, log
from private_registry.api import names
from private_registry.api.hosts import Network, Rules

RESOLV_CONF = Path("/etc/resolv.conf")


class _Cidr(click.ParamType[Network]):
    name = "cidr"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Network:
        try:
            return ip_network(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _taint_key(_context: click.Context, _option: click.Parameter, value: str) -> str:
    """Refuse what people have at hand, `key=value:effect`, which would be the key of no taint."""
    if not re.fullmatch(r"[A-Za-z0-9./_-]*", value):
        raise click.BadParameter(f"{value!r} is no key of a taint: leave out value and effect")
    return value


_COMMON = (
    click.option("--kubeconfig", type=click.Path(dir_okay=False), help="Kubeconfig file; absent: the pod's account."),
    click.option("--context", help="Context of the kubeconfig file; absent: its current one."),
    click.option(
        "--agents-namespace", default=names.AGENTS_NAMESPACE, show_default=True, help="Where agents and entries live."
    ),
    click.option("--cluster-domain", help="DNS domain of the cluster; absent: as /etc/resolv.conf says."),
    click.option(
        "--service-cidr",
        "service_ranges",
        type=_Cidr(),
        multiple=True,
        help="Address range of the cluster's Services, once per family; absent: as the ServiceCIDR objects say, which "
        "there are from Kubernetes 1.33 on.",
    ),
    click.option(
        "--allowed-hosts",
        multiple=True,
        metavar="PATTERN",
        help="Shell pattern of hosts that additionalHosts may name, such as '*.registry.example.com'; repeatable. "
        "Operator and agents need the same ones. None by default.",
    ),
    click.option("--health-port", default=8080, show_default=True, help="Port of /healthz, /readyz and /metrics."),
    click.option("--log-format", type=click.Choice(["json", "text"]), default="json", show_default=True),
    click.option(
        "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True
    ),
)


def _common(command: Callable[..., None]) -> Callable[..., None]:
    """The options that both programs have."""
    return reduce(lambda decorated, option: option(decorated), reversed(_COMMON), command)


@click.group(context_settings={"max_content_width": 120})
@click.version_option(__version__)
def main() -> None:
    """One `kubectl apply` of a PrivateRegistry, and every node of the cluster pulls from it."""


@main.command()
@_common
@click.option(
    "--namespace",
    envvar="POD_NAMESPACE",
    default=names.OPERATOR_NAMESPACE,
    show_default=True,
    help="Of the operator: where its Lease and the cluster's CA are.",
)
@click.option("--identity", envvar="POD_NAME", help="Name of this candidate for the Lease; absent: the host's name.")
@click.option("--registry-image", envvar="REGISTRY_IMAGE", help="Image of registries that name none.")
@click.option(
    "--image", default="", help="Image of this program, for what runs beside registries; absent: that of its own pod."
)
@click.option(
    "--registries-per-namespace",
    type=click.IntRange(min=1),
    default=32,
    show_default=True,
    help="How many registries a namespace may have: the oldest. What nodes trust already stays.",
)
@click.option(
    "--startup-taint",
    metavar="KEY",
    default="",
    callback=_taint_key,
    help="Key of a taint that new nodes are registered with, and that is taken from each once it is proven. The right "
    "to patch nodes comes with manifests/startup-taint. None by default.",
)
def operator(
    kubeconfig: str | None,
    context: str | None,
    agents_namespace: str,
    namespace: str,
    identity: str | None,
    registry_image: str | None,
    image: str,
    registries_per_namespace: int,
    startup_taint: str,
    health_port: int,
    log_format: log.Format,
    log_level: str,
    **rules: Any,
) -> None:
    """Run registries: their Deployments, Services, certificates, trust entries and status."""
    import asyncio  # noqa: PLC0415

    from private_registry.controller import main as controller  # noqa: PLC0415
    from private_registry.controller.settings import DEFAULT_IMAGE, Settings  # noqa: PLC0415
    from private_registry.kube.client import ApiError  # noqa: PLC0415
    from private_registry.kube.lease import LeadershipLostError  # noqa: PLC0415
    from private_registry.kube.login import LoginError, login  # noqa: PLC0415

    log.setup(log_format, log_level)
    settings = Settings(
        rules=_rules(**rules),
        namespace=namespace,
        agents_namespace=agents_namespace,
        registry_image=registry_image or DEFAULT_IMAGE,
        image=image,
        startup_taint=startup_taint,
        registries_per_namespace=registries_per_namespace,
    )
    who = identity or f"{socket.gethostname()}-{os.getpid()}"
    try:
        credentials = login(kubeconfig, context)
        asyncio.run(controller.run(credentials, settings, identity=who, health_port=health_port))
    except (ApiError, LoginError, LeadershipLostError, controller.UnsupportedClusterError) as error:
        raise click.ClickException(str(error)) from None


@main.command()
@_common
@click.option("--node-name", envvar="NODE_NAME", required=True, help="The node that this agent is on.")
@click.option(
    "--host-root",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("/host"),
    show_default=True,
    help="Where the node's /etc and /run are mounted.",
)
@click.option(
    "--proof-interval",
    type=click.FloatRange(min=1),
    default=600,
    show_default=True,
    help="Seconds between two proofs that the runtime pulls from a registry.",
)
@click.option(
    "--cleanup", is_flag=True, help="Remove every file of ours from the node, whatever the API server says, and exit."
)
@click.option(
    "--may-restart",
    is_flag=True,
    help="Set config_path and restart containerd where the node is opted in; needs a privileged pod.",
)
@click.option("--wait", is_flag=True, help="With --cleanup: stay idle afterwards, for use in a DaemonSet.")
def agent(
    kubeconfig: str | None,
    context: str | None,
    agents_namespace: str,
    node_name: str,
    host_root: Path,
    proof_interval: float,
    health_port: int,
    log_format: log.Format,
    log_level: str,
    *,
    cleanup: bool,
    wait: bool,
    may_restart: bool,
    **rules: Any,
) -> None:
    """Keep one node's trust in registries: write its runtime's files, prove them, repair them, undo them."""
    import asyncio  # noqa: PLC0415

    from private_registry.agent import main as room  # noqa: PLC0415
    from private_registry.kube.login import LoginError, login  # noqa: PLC0415

    log.setup(log_format, log_level)
    settings = room.AgentSettings(
        node_name=node_name,
        agents_namespace=agents_namespace,
        rules=_rules(**rules),
        host_root=host_root,
        proof_interval=proof_interval,
        health_port=health_port,
        may_restart=may_restart,
    )
    try:
        if cleanup:
            asyncio.run(room.cleanup(settings, wait=wait))
        else:
            asyncio.run(room.run(settings, login(kubeconfig, context)))
    except (LoginError, OSError) as error:
        raise click.ClickException(str(error)) from None


@main.command()
@click.option(
    "--directory", type=click.Path(path_type=Path, file_okay=False), required=True, help="Where the volume is."
)
@click.option("--grace", type=click.FloatRange(min=0), required=True, help="Seconds: what is younger stays.")
@click.option(
    "--delete-untagged",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also what no tag leads to and is not in this list of images in use.",
)
@click.option("--dry-run", is_flag=True, help="Delete nothing, and say what would go.")
@click.option(
    "--outcome", type=click.Path(path_type=Path, dir_okay=False), required=True, help="File to say in what was done."
)
def collect(directory: Path, outcome: Path, **how: Any) -> None:
    """Collect the garbage of a registry's volume, to which nobody writes meanwhile."""
    from private_registry.jobs.collect import collect as run  # noqa: PLC0415
    from private_registry.jobs.collect import write_outcome  # noqa: PLC0415

    log.setup("json", "info")
    found = run(directory, **how)
    write_outcome(found, outcome)
    if found.error:
        raise click.ClickException(found.error)


@main.command()
@click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("/var/lib/registry"),
    show_default=True,
    help="Where the volume is.",
)
@click.option("--address", envvar="POD_IP", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--port", default=names.SPACE_PORT, show_default=True, help="Port to listen on.")
def report(directory: Path, address: str, port: int) -> None:
    """Say how full the volume of a registry is: JSON at /, the same for Prometheus at /metrics."""
    from private_registry.jobs.report import serve  # noqa: PLC0415

    serve(directory, address, port)


@main.command()
@click.option("--registry", required=True, metavar="URL", help="Scheme, address and port of the registry.")
@click.option("--server-name", default="", help="Name in its certificate, where that is not its address.")
@click.option("--pull-port", type=int, help="Port to read from that asks nobody for a credential.")
@click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Where the operator's orders, the CA and the credential are.",
)
@click.option(
    "--result",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("/dev/termination-log"),
    show_default=True,
    help="Where to leave how it ended.",
)
@click.option("--host", help="Address to hand its list over at; absent: all of the pod's.")
@click.option("--port", default=names.SWEEP_PORT, show_default=True, help="Port to hand its list over at.")
@click.option("--patience", default=60.0, show_default=True, help="Seconds to wait for somebody to fetch the list.")
def sweep(
    registry: str,
    server_name: str,
    pull_port: int | None,
    directory: Path,
    result: Path,
    host: str | None,
    port: int,
    patience: float,
) -> None:
    """Say which tags of a registry its rules let go, and delete them where it is told to. Started by the operator."""
    import asyncio  # noqa: PLC0415

    from private_registry.distribution import Registry  # noqa: PLC0415
    from private_registry.jobs import sweep as room  # noqa: PLC0415

    log.setup("text", "info")
    target = Registry.at(registry, server_name)
    settings = room.Settings(target, pull_port, directory, result, host, port, patience=patience)
    if asyncio.run(room.run(settings, click.echo)).result != "Succeeded":
        raise click.exceptions.Exit(1)


def _rules(cluster_domain: str | None, service_ranges: tuple[Network, ...], allowed_hosts: tuple[str, ...]) -> Rules:
    return Rules(
        cluster_domain=cluster_domain or _domain_of_pod(),
        service_ranges=service_ranges,
        allowed_hosts=allowed_hosts,
    )


def _domain_of_pod() -> str:
    """The cluster's domain, from the search list that the kubelet gives to pods: `NAMESPACE.svc.DOMAIN` comes first."""
    try:
        text = RESOLV_CONF.read_text()
    except OSError:
        text = ""
    found = re.search(r"^search\s+[a-z0-9-]+\.svc\.([a-z0-9.-]+)", text, re.MULTILINE)
    return found.group(1).rstrip(".") if found else Rules.cluster_domain


if __name__ == "__main__":
    main()
