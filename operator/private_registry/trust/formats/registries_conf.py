"""The drop-in in registries.conf.d for CRI-O, podman and the rest of their family: containers-registries.conf(5).

One table for each host. It is there with TLS as well, where nothing has to be said: the longest prefix wins, so no
wildcard of somebody else's redirects or blocks the host. Where pulls have a port of their own, that is a mirror: it is
tried first, without the credential that the host itself is for, and never pushed to.
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
    # A mirror is looked up in these tables itself: it takes one of its own to be out of the reach of other people's.
    for directory in (*files.certificates, *files.mirrors):
        insecure = f"insecure = {'true' if directory.server.startswith('http://') else 'false'}"
        lines += [
            "",
            "[[registry]]",
            f'prefix = "{directory.host}"',
            f'location = "{directory.host}"',
            insecure,
        ]
        if directory.mirror:
            lines += ["[[registry.mirror]]", f'location = "{directory.mirror.partition("://")[2]}"', insecure]
    return "".join(f"{line}\n" for line in lines).encode()
