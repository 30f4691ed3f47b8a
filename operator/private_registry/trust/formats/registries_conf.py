"""The drop-in in registries.conf.d for CRI-O, podman and the rest of their family: containers-registries.conf(5).

One table for each host. It is there with TLS as well, where nothing has to be said: the longest prefix wins, so no
wildcard of somebody else's redirects or blocks the host.
"""

from private_registry.trust import marker
from private_registry.trust.node_files import NodeFiles

PREFIX = "90-private-registry."


def file_name(registry: str) -> str:
    """The name of the file of a registry `namespace/name`: no two have the same."""
    return f"{PREFIX}{registry.replace('/', '.')}.conf"


def render(files: NodeFiles) -> bytes:
    """The file, byte for byte."""
    lines = [marker.line(files.registry, files.entry_hash)]
    for directory in files.certificates:
        lines += [
            "",
            "[[registry]]",
            f'prefix = "{directory.host}"',
            f'location = "{directory.host}"',
            f"insecure = {'true' if directory.server.startswith('http://') else 'false'}",
        ]
    return "".join(f"{line}\n" for line in lines).encode()
