"""The one hosts.toml that containerd 1.6 to 2.3 all read the same way.

Fields of the root table and an *empty* [host] table: containerd 1.6 ignores a file with `server` alone, 1.7 cannot
parse an IPv6 address as a table header, and each ignores a whole file for one capability that it does not know. In
this form the address is the only one tried: no fall-back to the DNS name.
"""

import tomllib
from dataclasses import dataclass

from private_registry.trust import marker

FILE = "hosts.toml"
CA_FILE = "ca.crt"

_DIAL_TIMEOUT = "5s"  # containerd 2.0 and later; before, 30 s, and the key is ignored


@dataclass(frozen=True)
class HostsToml:
    """What a hosts.toml of ours says."""

    server: str
    """URL of scheme, host and port."""
    own_ca: bool
    """Whether the server's certificate is verified against the ca.crt beside the file; if not, the node's roots."""


def render(content: HostsToml, *, registry: str, entry_hash: str) -> bytes:
    """The file, byte for byte, in the name of the registry `namespace/name`."""
    lines = [
        marker.line(registry, entry_hash),
        f'server = "{content.server}"',
        'capabilities = ["pull", "resolve"]',
        *([f'ca = "{CA_FILE}"'] if content.own_ca else []),
        f'dial_timeout = "{_DIAL_TIMEOUT}"',
        "[host]",
    ]
    return "".join(f"{line}\n" for line in lines).encode()


def parse(data: bytes) -> HostsToml:
    """Read back what the runtime reads.

    Raises ValueError for anything that render() does not write.
    """
    table = tomllib.loads(data.decode())
    server, own_ca = table.pop("server", None), table.pop("ca", None)
    rest = {"capabilities": ["pull", "resolve"], "dial_timeout": _DIAL_TIMEOUT, "host": {}}
    if not isinstance(server, str) or own_ca not in (None, CA_FILE) or table != rest:
        raise ValueError("this hosts.toml says something else than one server")
    return HostsToml(server=server, own_ca=own_ca is not None)
