"""The trust entry: the only thing that passes from the cluster to its nodes, one ConfigMap per registry.

It is a versioned API between operators and agents of different ages, so it is closed: a reader that meets a field or
a version that it does not know refuses the entry as a whole. Written by the operator alone, and read as hostile input
all the same.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from ipaddress import ip_address
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, ValidationError, model_validator

from private_registry.api import hosts, names
from private_registry.api.conditions import Reason
from private_registry.api.registry import Model, PrivateRegistry

FORMAT_VERSION = 1
KEY = "entry.json"
"""Of the ConfigMap's data."""
LIMIT = 64 * 1024
"""Bytes of an entry, and so of anything that an agent writes for it."""

LABELS = {names.MANAGED_BY: names.MANAGER, names.COMPONENT: "trust-entry"}
"""What an agent selects the ConfigMaps by."""

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----\s[A-Za-z0-9+/=\s]+?-----END CERTIFICATE-----")
_BUNDLE = re.compile(rf"(?:{_CERTIFICATE.pattern}\n)*")
_LABEL = r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"


class EntryInvalidError(ValueError):
    """The ConfigMap holds no entry that this version understands; the message says what does not fit."""


def _canonical_host(text: str) -> str:
    if str(hosts.parse_host(text)) != text:
        raise ValueError(f"{text!r} is not in canonical spelling")
    return text


def _canonical_address(text: str) -> str:
    if str(ip_address(text)) != text:
        raise ValueError(f"{text!r} is not in canonical spelling")
    return text


def _bundle(text: str) -> str:
    if not _BUNDLE.fullmatch(text):
        raise ValueError("the CA bundle holds something else than PEM certificates")
    return text


class Entry(Model):
    """What the nodes are to believe of one registry."""

    model_config = ConfigDict(strict=True)

    format_version: Literal[1] = 1
    registry: str = Field(pattern=rf"^{_LABEL}/{_LABEL}$")
    """`namespace/name`"""
    hosts: tuple[Annotated[str, AfterValidator(_canonical_host)], ...] = Field(min_length=1, max_length=32)
    """Names that images may have, the canonical one first."""
    addresses: tuple[Annotated[str, AfterValidator(_canonical_address)], ...] = Field(min_length=1, max_length=4)
    """Where the registry is reached; the first is the Service's own choice of family."""
    port: int = Field(ge=1, le=65535)
    scheme: Literal["http", "https"]
    ca_bundle: Annotated[str, AfterValidator(_bundle)] = ""
    """PEM; empty: the certificate is verified against the node's own roots."""
    server_name: str = Field(default="", max_length=253)
    """The name that the certificate is verified for when it names no address; nodes learn it from /etc/hosts."""
    node_selector: dict[str, str] = Field(default_factory=dict, max_length=16)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.scheme == "http" and (self.ca_bundle or self.server_name):
            raise ValueError("plain HTTP has neither a CA nor a name to verify")
        if self.server_name:
            hosts.parse_host(f"{self.server_name}:{self.port}")
        return self

    def canonical(self) -> str:
        """The JSON that is stored: the same text for the same entry, whoever writes it."""
        return json.dumps(self.model_dump(mode="json", by_alias=True), sort_keys=True, separators=(",", ":"))

    def selects(self, node_labels: Mapping[str, str]) -> bool:
        return all(node_labels.get(key) == value for key, value in self.node_selector.items())


@dataclass(frozen=True)
class Refusal:
    """A name that the registry was not given, for its status."""

    host: str
    reason: Reason
    message: str


@dataclass(frozen=True)
class Built:
    """An entry without the names that were refused: one bad name does not take the others from the nodes."""

    entry: Entry
    refusals: tuple[Refusal, ...]


def build(
    registry: PrivateRegistry,
    *,
    cluster_ips: Sequence[str],
    ca_bundle: str,
    rules: hosts.Rules,
    server_name: str = "",
    covered: Callable[[str], bool] | None = None,
    taken_hosts: Mapping[str, str] | None = None,
) -> Built:
    """The entry of a registry that serves at these addresses.

    `server_name` is set when the certificate names no address: then no address is trusted as a name either.
    `covered` tells whether the certificate names a host (without port); None: it names all of them. `taken_hosts`
    maps hosts of other registries to those registries. Of `ca_bundle` only certificates are taken.

    Raises EntryInvalidError when no valid entry can be made of all this, for want of an address for example.
    """
    own = rules.own_names(registry.namespace, registry.name)
    trusted = [str(host) for host in own if covered is None or covered(host.name)]
    refusals = []
    for address in () if server_name else cluster_ips:
        host = hosts.Host(str(ip_address(address)), names.PORT)
        if message := rules.refusal(host, registry.namespace, registry.name):
            refusals.append(Refusal(str(host), Reason.HOST_NOT_ALLOWED, message))
        else:
            trusted.append(str(host))
    for text in registry.spec.node_trust.additional_hosts:
        if text in trusted:
            continue
        if refusal := _refusal(text, registry, rules, covered, taken_hosts or {}):
            refusals.append(refusal)
        else:
            trusted.append(text)
    tls = registry.spec.tls.mode != "Disabled"
    try:
        entry = Entry(
            registry=registry.key,
            hosts=tuple(trusted),
            addresses=tuple(str(ip_address(address)) for address in cluster_ips),
            port=names.PORT,
            scheme="https" if tls else "http",
            ca_bundle="".join(f"{block}\n" for block in _CERTIFICATE.findall(ca_bundle)) if tls else "",
            server_name=server_name if tls else "",
            node_selector=registry.spec.node_trust.node_selector,
        )
    except ValidationError as error:
        raise EntryInvalidError(_what_is_wrong(error)) from None
    if len(entry.canonical()) > LIMIT:
        raise EntryInvalidError(
            f"the trust entry has {len(entry.canonical())} bytes, more than {LIMIT}: shorten the CA bundle"
        )
    return Built(entry, tuple(refusals))


def _refusal(
    text: str,
    registry: PrivateRegistry,
    rules: hosts.Rules,
    covered: Callable[[str], bool] | None,
    taken_hosts: Mapping[str, str],
) -> Refusal | None:
    try:
        host = hosts.parse_host(text)
    except hosts.InvalidHostError as error:
        return Refusal(text, Reason.HOST_INVALID, str(error))
    if host.address is not None:
        return Refusal(text, Reason.HOST_NOT_ALLOWED, f"{text} is no address of this registry's Service")
    if message := rules.refusal(host, registry.namespace, registry.name):
        return Refusal(text, Reason.HOST_NOT_ALLOWED, message)
    if holder := taken_hosts.get(text):
        return Refusal(text, Reason.HOST_TAKEN, f"{text} is a host of the registry {holder} already")
    if covered is not None and not covered(host.name):
        return Refusal(text, Reason.CERTIFICATE_INVALID, f"the registry's certificate does not name {host.name}")
    return None


def hash_of(data: str) -> str:
    """What an agent reports and the operator compares: 16 hex digits over the entry as it is stored."""
    return sha256(data.encode(errors="surrogatepass")).hexdigest()[:16]


def config_map(entry: Entry, registry: PrivateRegistry, namespace: str) -> dict[str, Any]:
    """The object that carries the entry into the agents' namespace."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": names.entry(registry.namespace, registry.name),
            "namespace": namespace,
            "labels": {
                **LABELS,
                names.PART_OF: names.MANAGER,
                names.INSTANCE: registry.name,
                names.REGISTRY_NAMESPACE: registry.namespace,
                names.REGISTRY_UID: registry.uid,
            },
        },
        "data": {KEY: entry.canonical()},
    }


def data_of(config_map: Mapping[str, Any]) -> str:
    """The entry as it is stored; empty when there is none."""
    data = config_map.get("data")
    text = data.get(KEY) if isinstance(data, dict) else None
    return text if isinstance(text, str) else ""


def parse(config_map: Mapping[str, Any]) -> Entry:
    """Read an entry.

    Raises EntryInvalidError for another format version, an unknown or ill-formed field, more than 64 KiB, and for a
    ConfigMap whose name speaks of another registry.
    """
    data = data_of(config_map)
    if len(data) > LIMIT:
        raise EntryInvalidError(f"the entry has {len(data)} bytes, more than {LIMIT}")
    try:
        raw = json.loads(data)
    except ValueError as error:
        raise EntryInvalidError(f"{KEY} is no JSON: {error}") from None
    version = raw.get("formatVersion") if isinstance(raw, dict) else None
    if version != FORMAT_VERSION:
        raise EntryInvalidError(
            f"the entry has format version {version!r}, this agent reads {FORMAT_VERSION}: update it"
        )
    try:
        entry = Entry.model_validate_json(data)
    except ValidationError as error:
        raise EntryInvalidError(_what_is_wrong(error)) from None
    namespace, _, name = entry.registry.partition("/")
    if config_map["metadata"]["name"] != names.entry(namespace, name):
        raise EntryInvalidError(f"the ConfigMap {config_map['metadata']['name']} speaks of {entry.registry}")
    return entry


def _what_is_wrong(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, item['loc'])) or 'entry'}: {item['msg']}" for item in error.errors())
