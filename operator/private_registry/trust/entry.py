"""The trust entry: the only thing that passes from the cluster to its nodes, one ConfigMap per registry.

It is a versioned API between operators and agents of different ages, so it is closed: a reader that meets a field or
a version that it does not know refuses the entry as a whole. Written by the operator alone, and read as hostile input
all the same. No pydantic here: an agent would pay 10 MiB for it, on every node.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from ipaddress import ip_address
from reprlib import repr as short  # of what may be nested deeper than repr() goes
from typing import Any, Literal

from private_registry.api import hosts, names

FORMAT_VERSION = 1
KEY = "entry.json"
"""Of the ConfigMap's data."""
LIMIT = 64 * 1024
"""Bytes of an entry, and so of anything that an agent writes for it."""

LABELS = {names.MANAGED_BY: names.MANAGER, names.COMPONENT: "trust-entry"}
"""What an agent selects the ConfigMaps by."""

# Not \s, which is also what Unicode calls a blank: no PEM, and up to three bytes for each character of an entry.
CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----[ \t]*\r?\n[A-Za-z0-9+/= \t\r\n]+?-----END CERTIFICATE-----")

_BUNDLE = re.compile(rf"(?:{CERTIFICATE.pattern}\n)*")
_LABEL = r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
_REGISTRY = re.compile(rf"{_LABEL}/{_LABEL}")
_MAX_HOSTS, _MAX_ADDRESSES, _MAX_LABELS = 32, 4, 16
_FIELDS = {
    "registry": "registry",
    "hosts": "hosts",
    "addresses": "addresses",
    "port": "port",
    "scheme": "scheme",
    "caBundle": "ca_bundle",
    "serverName": "server_name",
    "nodeSelector": "node_selector",
}


class EntryInvalidError(ValueError):
    """This is no entry that this version understands; the message says what does not fit."""


@dataclass(frozen=True)
class Entry:
    """What the nodes are to believe of one registry. Making one that does not fit raises EntryInvalidError."""

    registry: str
    """`namespace/name`"""
    hosts: tuple[str, ...]
    """Names that images may have, the canonical one first."""
    addresses: tuple[str, ...]
    """Where the registry is reached; the first is the Service's own choice of family."""
    port: int
    scheme: Literal["http", "https"]
    ca_bundle: str = ""
    """PEM; empty: the certificate is verified against the node's own roots."""
    server_name: str = ""
    """The name that the certificate is verified for when it names no address; nodes learn it from /etc/hosts."""
    node_selector: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if problems := list(self._problems()):
            raise EntryInvalidError("; ".join(problems))

    def _problems(self) -> Iterator[str]:
        if not (isinstance(self.registry, str) and _REGISTRY.fullmatch(self.registry)):
            yield f"registry: {short(self.registry)} is no namespace/name"
        yield from _each("hosts", self.hosts, _MAX_HOSTS, _spell_host)
        yield from _each("addresses", self.addresses, _MAX_ADDRESSES, _spell_address)
        if type(self.port) is not int or not 1 <= self.port <= 65535:
            yield f"port: {short(self.port)} is none"
        if self.scheme not in ("http", "https"):
            yield f"scheme: {short(self.scheme)} is neither http nor https"
        if not (isinstance(self.ca_bundle, str) and _BUNDLE.fullmatch(self.ca_bundle)):
            yield "caBundle: holds something else than PEM certificates"
        if self.server_name != "":
            yield from _each("serverName", (self.server_name,), 1, _spell_name)
        if self.scheme == "http" and (self.ca_bundle or self.server_name):
            yield "scheme: plain HTTP has neither a CA nor a name to verify"
        labels = self.node_selector
        if not isinstance(labels, Mapping) or len(labels) > _MAX_LABELS or not _all_text([*labels, *labels.values()]):
            yield f"nodeSelector: is no mapping of at most {_MAX_LABELS} labels"

    def canonical(self) -> str:
        """The JSON that is stored: the same text for the same entry, whoever writes it."""
        fields: dict[str, Any] = {name: getattr(self, attribute) for name, attribute in _FIELDS.items()}
        return json.dumps({"formatVersion": FORMAT_VERSION, **fields}, sort_keys=True, separators=(",", ":"))

    def selects(self, node_labels: Mapping[str, str]) -> bool:
        return all(node_labels.get(key) == value for key, value in self.node_selector.items())


def hash_of(data: str) -> str:
    """What an agent reports and the operator compares: 16 hex digits over the entry as it is stored."""
    return sha256(data.encode(errors="surrogatepass")).hexdigest()[:16]


def data_of(config_map: Mapping[str, Any]) -> str:
    """The entry as it is stored; empty when there is none."""
    data = config_map.get("data")
    text = data.get(KEY) if isinstance(data, dict) else None
    return text if isinstance(text, str) else ""


def parse(config_map: Mapping[str, Any]) -> Entry:
    """Read an entry.

    Raises EntryInvalidError for another format version, an unknown or ill-formed field, another spelling than the
    operator's, more than 64 KiB, and for a ConfigMap whose name speaks of another registry.
    """
    data = data_of(config_map)
    if len(data) > LIMIT:
        raise EntryInvalidError(f"the entry has {len(data)} bytes, more than {LIMIT}")
    try:
        raw = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise EntryInvalidError(f"{KEY} is no JSON: {error}") from None
    version = raw.pop("formatVersion", None) if isinstance(raw, dict) else None
    if type(version) is not int or version != FORMAT_VERSION:
        raise EntryInvalidError(
            f"the entry has format version {short(version)}, this agent reads {FORMAT_VERSION}: update it"
        )
    if strange := raw.keys() ^ _FIELDS.keys():
        raise EntryInvalidError(f"unknown or missing: {', '.join(map(repr, sorted(strange)))}")
    lists = {name: tuple(value) for name, value in raw.items() if isinstance(value, list)}
    entry = Entry(**{_FIELDS[name]: value for name, value in {**raw, **lists}.items()})
    if entry.canonical() != data:  # a field that is there twice, 1.0 for 1: whoever reads it next may read another one
        raise EntryInvalidError("the entry is not spelled as the operator spells it")
    namespace, _, name = entry.registry.partition("/")
    if config_map["metadata"]["name"] != names.entry(namespace, name):
        raise EntryInvalidError(f"the ConfigMap {config_map['metadata']['name']} speaks of {entry.registry}")
    return entry


def _each(what: str, values: object, most: int, spell: Callable[[str], str]) -> Iterator[str]:
    """What is wrong with a list of texts that have one canonical spelling each."""
    if not isinstance(values, tuple) or not 1 <= len(values) <= most or not _all_text(values):
        yield f"{what}: is no list of 1 to {most} texts"
        return
    for value in values:
        try:
            if spell(value) != value:
                yield f"{what}: {value!r} is not in its canonical spelling"
        except ValueError as error:
            yield f"{what}: {error}"


def _all_text(values: Iterable[object]) -> bool:
    return all(isinstance(value, str) for value in values)


def _spell_host(text: str) -> str:
    return str(hosts.parse_host(text))


def _spell_name(text: str) -> str:
    return _spell_host(f"{text}:{names.PORT}").removesuffix(f":{names.PORT}")


def _spell_address(text: str) -> str:
    if "%" in text:  # behind which ip_address() takes a zone of IPv6, and for that anything, line ends included
        raise ValueError(f"{text!r} has a zone")
    return str(ip_address(text))
