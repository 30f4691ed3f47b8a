"""What the operator publishes of a registry: from its spec, its addresses and its certificate to a trust entry."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from ipaddress import ip_address
from typing import Any

from private_registry.api import hosts, names
from private_registry.api.conditions import Reason
from private_registry.api.registry import PrivateRegistry
from private_registry.trust.entry import (
    CERTIFICATE,
    KEY,
    LABELS,
    LIMIT,
    Entry,
    EntryInvalidError,
    data_of,
    hash_of,
    parse,
)


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
    maps names (without port) of other registries to those registries. Of `ca_bundle` only certificates are taken.

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
    entry = Entry(
        registry=registry.key,
        hosts=tuple(trusted),
        addresses=tuple(str(ip_address(address)) for address in cluster_ips),
        port=registry.pull_port,
        scheme="https" if tls else "http",
        ca_bundle=joined(ca_bundle) if tls else "",
        server_name=server_name if tls else "",
        node_selector=registry.spec.node_trust.node_selector,
    )
    return Built(_limited(entry), tuple(refusals))


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
    if holder := taken_hosts.get(host.name):
        return Refusal(text, Reason.HOST_TAKEN, f"{host.name} is a name of the registry {holder} already")
    if covered is not None and not covered(host.name):
        return Refusal(text, Reason.CERTIFICATE_INVALID, f"the registry's certificate does not name {host.name}")
    return None


def extended(entry: Entry, ca_bundle: str) -> Entry:
    """An entry with further CAs, whoever it speaks of. Raises EntryInvalidError when that makes it too long."""
    return _limited(replace(entry, ca_bundle=joined(entry.ca_bundle, ca_bundle)))


def joined(*bundles: str) -> str:
    """Every certificate of these PEM texts once, in order."""
    return "".join(f"{block}\n" for block in dict.fromkeys(block for each in bundles for block in blocks(each)))


def blocks(bundle: str) -> list[str]:
    """The certificates of a PEM text, as they stand there."""
    return CERTIFICATE.findall(bundle)


def _limited(entry: Entry) -> Entry:
    if len(entry.canonical()) > LIMIT:
        raise EntryInvalidError(
            f"the trust entry has {len(entry.canonical())} bytes, more than {LIMIT}: shorten the CA bundle"
        )
    return entry


def config_map(
    entry: Entry,
    registry: PrivateRegistry,
    namespace: str,
    *,
    live: Mapping[str, Any] | None = None,
    serves_with: str = "",
    now: datetime | None = None,
) -> dict[str, Any]:
    """The object that carries the entry into the agents' namespace.

    `live` is the one that it follows, `serves_with` the fingerprint of the certificate that is served.
    """
    annotations = _history(entry, live, serves_with, now) if live and now else {}
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
            **({"annotations": annotations} if annotations else {}),
        },
        "data": {KEY: entry.canonical()},
    }


def _history(entry: Entry, live: Mapping[str, Any], serves_with: str, now: datetime) -> dict[str, str]:
    """What is to be known of the time before an entry."""
    before = data_of(live)
    if before == entry.canonical():
        said = live["metadata"].get("annotations") or {}
        return {key: said[key] for key in (names.SINCE, names.AS_GOOD) if key in said}
    history = {names.SINCE: now.isoformat(timespec="seconds")}
    try:
        told = parse(live)
    except EntryInvalidError:
        return history
    old, new = set(blocks(told.ca_bundle)), set(blocks(entry.ca_bundle))
    if replace(told, ca_bundle="") == replace(entry, ca_bundle="") and (old <= new or new <= old) and serves_with:
        history[names.AS_GOOD] = f"{hash_of(before)}/{serves_with}"
    return history


def as_good(config_map: Mapping[str, Any] | None, serves_with: str) -> str:
    """Hash of the earlier entry by which nodes believe this certificate just as well; empty: there is none."""
    said = ((config_map or {}).get("metadata", {}).get("annotations") or {}).get(names.AS_GOOD, "")
    entry_hash, _, fingerprint = said.partition("/")
    return entry_hash if fingerprint == serves_with else ""
