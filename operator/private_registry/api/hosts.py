"""Host names as they stand in front of an image, parsed as what they are: hostile input.

The CRD refuses most bad ones at admission; the operator asks again before it writes a trust entry, and each agent
asks again before it touches its node, so that nobody can redirect a name that is not his.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from private_registry.api import names

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_LABEL = r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"({_LABEL}(?:\.{_LABEL})*)(?::([1-9][0-9]{{0,4}}))?")
_LIMIT = 253


class InvalidHostError(ValueError):
    """The text is no host of an image; the message says why, quoting the text safely."""


@dataclass(frozen=True)
class Host:
    """A host as an image name spells it: a DNS name or an address, and a port unless it is left out."""

    name: str
    port: int | None

    def __str__(self) -> str:
        literal = f"[{self.name}]" if ":" in self.name else self.name
        return literal if self.port is None else f"{literal}:{self.port}"

    @property
    def address(self) -> Address | None:
        """The address, when the name is one."""
        try:
            return ip_address(self.name)
        except ValueError:
            return None


def parse_host(text: str) -> Host:
    """Read `name`, `name:port`, `1.2.3.4:port` or `[fd00::1]:port`, in their one canonical spelling.

    Raises InvalidHostError for anything else: upper case, an empty label, a path, a user, a blank, `..`, and a name of
    one label without port, which an image name would take for a repository.
    """
    if len(text) > _LIMIT + 6:
        raise InvalidHostError(f"a host of {len(text)} characters: at most {_LIMIT} and a port")
    if text.startswith("["):
        return _parse_ipv6(text)
    match = _HOST.fullmatch(text)
    if not match:
        raise InvalidHostError(f"{text!r} is no host name: lower-case DNS name or address, then optionally :port")
    name, port = match.group(1), _port(match.group(2), text)
    if len(name) > _LIMIT:
        raise InvalidHostError(f"a host name of {len(name)} characters: at most {_LIMIT}")
    if name.replace(".", "").isdigit() and str(_address(name, text)) != name:
        raise InvalidHostError(f"{text!r} is no canonical address")
    if "." not in name and port is None:
        raise InvalidHostError(f"{text!r} needs a dot or a port: an image name would take it for a repository")
    return Host(name, port)


def _parse_ipv6(text: str) -> Host:
    literal, bracket, rest = text[1:].partition("]")
    if not bracket or (rest and not rest.startswith(":")) or rest == ":" or "%" in literal:
        raise InvalidHostError(f"{text!r} is no [address]:port")
    address = _address(literal, text)
    if not isinstance(address, IPv6Address) or str(address) != literal:
        raise InvalidHostError(f"{text!r} is no canonical IPv6 address")
    return Host(literal, _port(rest[1:] or None, text))


def _address(literal: str, text: str) -> Address:
    try:
        return ip_address(literal)
    except ValueError as error:
        raise InvalidHostError(f"{text!r} is no address: {error}") from None


def _port(digits: str | None, text: str) -> int | None:
    if digits is None:
        return None
    # Not int() alone: it takes blanks, underscores and other scripts' digits.
    if not re.fullmatch(r"[1-9][0-9]{0,4}", digits, re.ASCII) or int(digits) > 65535:
        raise InvalidHostError(f"{text!r}: the port is 1 to 65535, without leading zero")
    return int(digits)


@dataclass(frozen=True)
class Rules:
    """What the administrator lets a registry be called; the same on the operator and on every agent."""

    cluster_domain: str = "cluster.local"
    service_ranges: Sequence[Network] = ()
    """The address ranges of the cluster's Services; empty: not known, and then no address is trusted."""
    allowed_hosts: Sequence[str] = field(default=())
    """Shell patterns for hosts beyond a registry's own names; empty: none."""

    def own_names(self, namespace: str, name: str) -> tuple[Host, ...]:
        """The names that a registry has by itself, canonical first."""
        return (
            Host(f"{name}.{namespace}.svc", names.PORT),
            Host(f"{name}.{namespace}.svc.{self.cluster_domain}", names.PORT),
        )

    def in_service_range(self, address: Address) -> bool:
        return any(address in network for network in self.service_ranges)

    def is_allowed(self, host: Host) -> bool:
        """Whether the administrator's patterns permit this host to whoever asks for it first.

        Names of the cluster's own Services belong to those Services and addresses to the Service range, whatever
        the patterns say.
        """
        suffixes = ("svc", f"svc.{self.cluster_domain}", self.cluster_domain)
        if host.address is not None or any(
            host.name == suffix or host.name.endswith(f".{suffix}") for suffix in suffixes
        ):
            return False
        return any(fnmatchcase(str(host), pattern) for pattern in self.allowed_hosts)

    def refusal(self, host: Host, namespace: str, name: str) -> str | None:
        """Why the registry `namespace/name` may not have nodes trust this host; None when it may."""
        if host in self.own_names(namespace, name) or self.is_allowed(host):
            return None
        if (address := host.address) is None:
            return f"{host} is neither a name of {names.key(namespace, name)} nor allowed by --allowed-hosts"
        if not self.service_ranges:
            return "the address range of the cluster's Services is not known: set --service-cidr"
        if host.port != names.PORT or not self.in_service_range(address):
            return f"{host} is no address of the cluster's Services"
        return None
