"""From trust entries to the files that a node is to have.

Each name is judged again by this node's own rules, whatever the operator let pass: an entry, forged or not, gives a
registry its own names, its own addresses of the Service range, and what the administrator allows; nothing else.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property
from ipaddress import ip_address

from private_registry.api import hosts, names
from private_registry.trust import marker
from private_registry.trust.entry import Entry, hash_of
from private_registry.trust.formats import hosts_toml
from private_registry.trust.formats.etc_hosts import Alias
from private_registry.trust.reasons import Reason, Verdict


@dataclass(frozen=True)
class NodeFile:
    name: str
    content: bytes


@dataclass(frozen=True)
class HostDirectory:
    """The directory of one host, below a directory in which a runtime looks hosts up."""

    host: str
    server: str
    """URL at which the runtime reaches the registry by this name."""
    files: tuple[NodeFile, ...]
    """In the order in which they have to appear: whoever reads hosts.toml finds its CA."""
    mirror: str = ""
    """URL at which CRI-O and podman try to pull first; empty: nowhere else than at the server."""

    @cached_property
    def shadow(self) -> str | None:
        """The directory that is preferred to this one, where both exist, by what reads hosts.toml."""
        name, colon, port = self.host.rpartition(":")
        return f"{name}_{port}_" if colon and hosts_toml.FILE in [file.name for file in self.files] else None


@dataclass(frozen=True)
class NodeFiles:
    """All that a node is to have of one registry, for every runtime that it may run, or why not."""

    registry: str
    entry_hash: str
    address: str = ""
    directories: tuple[HostDirectory, ...] = ()
    """For containerd, which is told where each host is; no two names are trusted otherwise."""
    server_name: str = ""
    """The name that containerd has to find at the address; empty where it goes to the address itself."""
    certificates: tuple[HostDirectory, ...] = ()
    """For Docker Engine, CRI-O and podman, which go to each host under its own name; empty of files where the node's
    own roots, or no TLS, are all it takes."""
    mirrors: tuple[HostDirectory, ...] = ()
    """For CRI-O and podman: the hosts of `mirror` in `certificates`."""
    refusal: Verdict | None = None
    """Of a name that is left out, or, where there is no directory, of the entry as a whole."""

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the hosts, without port, that no DNS of the node knows."""
        parsed = [hosts.parse_host(directory.host) for directory in self.directories]
        return tuple(dict.fromkeys(host.name for host in parsed if host.address is None))

    def alias(self, names: Collection[str]) -> Alias | None:
        """The line in /etc/hosts for some of the names, in the order of the entry; None when there are none."""
        wanted = tuple(name for name in self.names if name in names)
        return Alias(self.address, wanted) if wanted else None


def refused(registry: str, entry_data: str, message: str) -> NodeFiles:
    """What stands for an entry that cannot be read: nothing to write, and nothing to remove."""
    return NodeFiles(registry, hash_of(entry_data), refusal=Verdict(Reason.ENTRY_NOT_UNDERSTOOD, message))


def allocate(entries: Iterable[Entry], rules: hosts.Rules) -> dict[str, NodeFiles]:
    """The files of each registry, by its `namespace/name`.

    A name that two entries have, whatever the port, belongs to the one that comes first: put the older first. A node
    whose runtime resolves names has one address for each.
    """
    holders: dict[str, str] = {}
    return {entry.registry: _files(entry, rules, holders) for entry in entries}


def _files(entry: Entry, rules: hosts.Rules, holders: dict[str, str]) -> NodeFiles:
    entry_hash = hash_of(entry.canonical())
    for address in entry.addresses:
        if message := _address_refusal(address, rules):
            return NodeFiles(entry.registry, entry_hash, refusal=Verdict(Reason.HOST_NOT_ALLOWED, message))
    trusted, refusals = [], []
    for host in map(hosts.parse_host, entry.hosts):
        if refusal := _host_refusal(host, entry, rules, holders):
            refusals.append(refusal)
        else:
            trusted.append(host)
    if entry.server_name and entry.server_name not in [host.name for host in trusted]:
        message = f"{entry.server_name} is no name of this registry: nodes must not be told that it is"
        return NodeFiles(entry.registry, entry_hash, refusal=Verdict(Reason.HOST_NOT_ALLOWED, message))
    mirrors = {host: mirror for host in trusted if (mirror := _mirror(host, entry, rules))}
    return NodeFiles(
        registry=entry.registry,
        entry_hash=entry_hash,
        address=entry.addresses[0],
        directories=tuple(_directory(host, entry, entry_hash) for host in trusted),
        server_name=entry.server_name,
        certificates=tuple(_certificate(host, entry, entry_hash, mirrors.get(host)) for host in trusted),
        mirrors=tuple(_certificate(host, entry, entry_hash) for host in dict.fromkeys(mirrors.values())),
        refusal=next(iter(refusals), None),
    )


def _address_refusal(address: str, rules: hosts.Rules) -> str | None:
    if rules.in_service_range(ip_address(address)):
        return None
    if not rules.service_ranges:
        return "the address range of the cluster's Services is not known to this agent: set --service-cidr"
    return f"{address} is no address of the cluster's Services as this agent knows them: see --service-cidr"


def _host_refusal(host: hosts.Host, entry: Entry, rules: hosts.Rules, holders: dict[str, str]) -> Verdict | None:
    namespace, _, name = entry.registry.partition("/")
    if message := rules.refusal(host, namespace, name):
        return Verdict(Reason.HOST_NOT_ALLOWED, message)
    if host.address is not None and host.name not in entry.addresses:
        return Verdict(Reason.HOST_NOT_ALLOWED, f"{host} is no address of this registry")
    holder = holders.setdefault(host.name, entry.registry)
    if holder != entry.registry:
        return Verdict(Reason.HOST_TAKEN, f"{host.name} is a name of the registry {holder} already")
    return None


def _mirror(host: hosts.Host, entry: Entry, rules: hosts.Rules) -> hosts.Host | None:
    """Where pulls by this name go, if that is another port, and if the name may have it as well."""
    if (host.port, entry.port) != (names.PORT, names.PULL_PORT):
        return None
    mirror = hosts.Host(host.name, entry.port)
    is_own = host.address is not None or host in rules.own_names(*entry.registry.split("/"))
    return mirror if is_own or rules.is_allowed(mirror) else None


def _directory(host: hosts.Host, entry: Entry, entry_hash: str) -> HostDirectory:
    mapped = entry.server_name or (host.name if host.address is not None else entry.addresses[0])
    server = f"{entry.scheme}://{hosts.Host(mapped, entry.port)}"
    content = hosts_toml.HostsToml(server=server, own_ca=bool(entry.ca_bundle))
    toml = hosts_toml.render(content, registry=entry.registry, entry_hash=entry_hash)
    return HostDirectory(str(host), server, (*_ca(entry, entry_hash), NodeFile(hosts_toml.FILE, toml)))


def _certificate(host: hosts.Host, entry: Entry, entry_hash: str, mirror: hosts.Host | None = None) -> HostDirectory:
    server, pulls = (f"{entry.scheme}://{each}" if each else "" for each in (host, mirror))
    return HostDirectory(str(host), server, _ca(entry, entry_hash), pulls)


def _ca(entry: Entry, entry_hash: str) -> tuple[NodeFile, ...]:
    if not entry.ca_bundle:
        return ()
    pem = f"{marker.line(entry.registry, entry_hash)}\n{entry.ca_bundle}"
    return (NodeFile(hosts_toml.CA_FILE, pem.encode()),)
