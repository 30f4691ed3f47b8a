"""What happens with each version of containerd and each way to configure it: the table, which the tests prove.

python -m tests.integration.containerd_matrix     # prints it, as docs/runtimes.md has it
"""

from collections.abc import Callable
from dataclasses import dataclass

from private_registry.trust.reasons import Reason
from tests.cluster import versions
from tests.integration.agent_node import NodeContainerd

CERTS_D = "/etc/containerd/certs.d"
LIST = f"{CERTS_D}:/etc/docker/certs.d"
MIRROR = 'server = "https://mirror.example.com"\n'
HOST = "team.registries.svc:5000"

VERSIONS = (
    versions.DEBIAN_CONTAINERD,
    *sorted([versions.CONTAINERD, *versions.OTHER_CONTAINERDS], key=lambda version: tuple(version.split("."))),
)


@dataclass(frozen=True)
class Outcome:
    """The reason of the node, the words that its message has, and what the table says."""

    reason: Reason
    saying: str
    text: str


WORKS = Outcome(Reason.TRUSTED, "", "works")
CURED = Outcome(Reason.TRUSTED, "", "works, by a directory of the list's name")
MIRRORED = Outcome(Reason.CONFIG_PATH_UNSET, "The table registry.mirrors is, beside which", "`ConfigPathUnset`")
UNSET = Outcome(
    Reason.CONFIG_PATH_UNSET,
    "kubectl label node worker-1 privateregistry.dev/runtime-config=manage",
    "`ConfigPathUnset`",
)
CONFLICT = Outcome(Reason.CONFLICT, "team.registries.svc_5000_ is there", "`Conflict`")


@dataclass(frozen=True)
class Case:
    """A way in which a node is configured."""

    title: str
    arrange: Callable[[NodeContainerd], None]
    outcome: Callable[[tuple[int, int]], Outcome]


def _plugin(node: NodeContainerd) -> str:
    return "io.containerd.grpc.v1.cri" if node.version.startswith("v1.") else "io.containerd.cri.v1.images"


def _mirrors(node: NodeContainerd) -> None:
    table = f'[plugins."{_plugin(node)}".registry.mirrors."docker.io"]\nendpoint = ["https://mirror.example.com"]\n'
    node.configure("", table)


def _imports(node: NodeContainerd) -> None:
    """The imported file has all of the plugin: before 2.0 it takes the place of the main file's."""
    node.configure("", head='imports = ["/etc/containerd/conf.d/*.toml"]')
    old = node.version.startswith("v1.")
    table = f'[plugins."{_plugin(node)}".containerd]' if old else f'[plugins."{_plugin(node)}"]'
    (node.etc / "containerd/conf.d").mkdir()
    (node.etc / "containerd/conf.d/registry.toml").write_text(
        f'version = {2 if old else 3}\n{table}\nsnapshotter = "native"\n'
        f'[plugins."{_plugin(node)}".registry]\nconfig_path = "{CERTS_D}"\n'
    )


def _foreign(name: str) -> Callable[[NodeContainerd], None]:
    def arrange(node: NodeContainerd) -> None:
        node.configure(CERTS_D)
        (node.certs_d / name).mkdir()
        (node.certs_d / name / "hosts.toml").write_text(MIRROR)

    return arrange


CASES = (
    Case("nothing configured", lambda node: node.configure(""), lambda at: CURED if at >= (2, 2) else UNSET),
    Case("`config_path`, one directory", lambda node: node.configure(CERTS_D), lambda _: WORKS),
    Case(
        "`config_path`, a list",
        lambda node: node.configure(LIST),
        lambda version: CURED if version >= (2, 1) else WORKS,
    ),
    Case("`registry.mirrors`", _mirrors, lambda _: MIRRORED),
    Case("`config_path` in an imported file", _imports, lambda _: WORKS),
    Case("a file of version 2", lambda node: node.configure(CERTS_D, old=True), lambda _: WORKS),
    Case("somebody else's `host_port_` directory", _foreign("team.registries.svc_5000_"), lambda _: CONFLICT),
    Case("somebody else's `_default` directory", _foreign("_default"), lambda _: WORKS),
)


def minor(version: str) -> tuple[int, int]:
    """`v2.2.9` is (2, 2)."""
    first, second, *_ = version.removeprefix("v").split(".")
    return int(first), int(second)


def table() -> str:
    """The matrix in Markdown."""
    heads = [".".join(map(str, minor(version))) for version in VERSIONS]
    lines = [f"| configuration | {' | '.join(heads)} |", f"|---|{'---|' * len(heads)}"]
    for case in CASES:
        cells = [case.outcome(minor(version)).text for version in VERSIONS]
        lines.append(f"| {case.title} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(table(), end="")
