"""What is on a node, read by other readers than the product's, and held against what the design permits there."""

import json
import re
import tomllib
from collections.abc import Collection, Mapping
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from private_registry.api.hosts import Rules

RULES = Rules(
    service_ranges=(ip_network("127.96.0.0/16"), ip_network("fd00:96::/112")), allowed_hosts=("*.registry.example.com",)
)
"""Of the node. What follows knows them in its own words."""

_ALLOWED = re.compile(r"(?:[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?\.)+registry\.example\.com", re.ASCII)
_LITERAL = re.compile(r"(\[[0-9a-f:]+\]|[0-9.]+):5000", re.ASCII)
_MARK = re.compile(
    r"# Managed by private-registry-operator for ([a-z0-9-]+/[a-z0-9-]+), entry [0-9a-f]{16}\. Edits are undone\."
)
_PEM = re.compile(
    r"(-----BEGIN CERTIFICATE-----[ \t]*\r?\n[A-Za-z0-9+/=\r\n\t ]+-----END CERTIFICATE-----\n)+", re.ASCII
)


def own_names(registry: str) -> set[str]:
    namespace, _, name = registry.partition("/")
    return {f"{name}.{namespace}.svc", f"{name}.{namespace}.svc.cluster.local"}


def is_service_address(text: str) -> bool:
    """An address as 127.96.1.2 or fd00:96::1 of the Service range, in its usual spelling and nothing behind it."""
    if not re.fullmatch(r"[0-9a-f:.]+", text, re.ASCII):
        return False
    try:
        address = ip_address(text)
    except ValueError:
        return False
    return str(address) == text and any(address in network for network in RULES.service_ranges)


def is_permitted(host: str, registry: str, addresses: Collection[str]) -> bool:
    """Whether a node may ever be told where this host is, for this registry at these addresses."""
    if host in {f"{name}:{port}" for name in own_names(registry) for port in (5000, 5002)}:
        return True
    if match := _LITERAL.fullmatch(host):
        address = match.group(1).strip("[]")
        return is_service_address(address) and address in addresses
    return len(host) <= 253 and bool(_ALLOWED.fullmatch(host))


def marked_for(line: str) -> str:
    match = _MARK.fullmatch(line)
    assert match, line
    return match.group(1)


def check_hosts_toml(data: bytes, entry: Mapping[str, Any], host: str) -> None:
    """It says one server, which is what the entry means by this host, and nothing else at all."""
    text = data.decode("ascii")
    assert marked_for(text.split("\n", 1)[0]) == entry["registry"]
    said = tomllib.loads(text)
    server = urlsplit(said.pop("server"))
    assert (server.scheme, server.port) == (entry["scheme"], entry["port"])
    assert (server.path, server.query, server.fragment, server.username) == ("", "", "", None)
    literal = _LITERAL.fullmatch(host)
    if entry["serverName"]:
        assert server.hostname == entry["serverName"]
    else:
        assert server.hostname == (literal.group(1).strip("[]") if literal else entry["addresses"][0])
        assert is_service_address(server.hostname)
    if entry["caBundle"]:
        assert said.pop("ca") == "ca.crt"
    assert said == {"capabilities": ["pull", "resolve"], "dial_timeout": "5s", "host": {}}


def check_ca(data: bytes, entry: Mapping[str, Any], real: Collection[str]) -> None:
    """It is the mark and the bundle; `real` are the certificates that can be read, and are what is read."""
    mark, _, bundle = data.decode("ascii").partition("\n")
    assert marked_for(mark) == entry["registry"]
    assert bundle == entry["caBundle"]
    assert _PEM.fullmatch(bundle), bundle
    blocks = [f"{block}-----END CERTIFICATE-----\n" for block in bundle.split("-----END CERTIFICATE-----\n")[:-1]]
    if set(blocks) <= set(real):
        found = [each.public_bytes(Encoding.PEM).decode() for each in x509.load_pem_x509_certificates(data)]
        assert found == blocks


def check_etc_hosts(data: bytes, before: bytes) -> dict[str, tuple[str, set[str]]]:
    """By hosts(5): ours come first, each an address and names and a comment. Returns them by registry."""
    assert data.endswith(before)
    found = {}
    for line in data[: len(data) - len(before)].decode("ascii").split("\n")[:-1]:
        fields, _, comment = line.partition("#")
        address, *names = fields.split()
        registry = marked_for(f"#{comment}")
        assert is_service_address(address), line
        for name in names:
            assert name in own_names(registry) or _ALLOWED.fullmatch(name), line
        found[registry] = address, set(names)
    return found


def check_drop_in(data: bytes, registry: str, addresses: Collection[str], *, plain: bool) -> set[str]:
    """Tables of hosts that lead to themselves, and to another port of theirs for pulls. Returns the hosts."""
    text = data.decode("ascii")
    assert marked_for(text.split("\n", 1)[0]) == registry
    said = tomllib.loads(text)
    tables = said.pop("registry", [])
    assert said == {}
    for table in tables:
        for mirror in table.pop("mirror", []):
            name = table["prefix"].removesuffix(":5000")
            assert mirror == {"location": f"{name}:{mirror['location'].rpartition(':')[2]}", "insecure": plain}, table
        assert table == {"prefix": table["prefix"], "location": table["prefix"], "insecure": plain}
        assert is_permitted(table["prefix"], registry, addresses), table
    return {table["prefix"] for table in tables}


def insecure(path: Path) -> list[str]:
    """What Docker's daemon.json lists."""
    listed: list[str] = json.loads(path.read_text()).get("insecure-registries", [])
    return listed
