"""The files of a node: golden for every way to serve a registry, and none at all for what an entry must not ask.

After an intended change, write them anew and read the difference:

    PYTHONPATH=operator .venv/bin/python -m tests.unit.test_trust_node_files
"""

import tomllib
from collections.abc import Iterator, Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from private_registry.api.hosts import Rules
from private_registry.trust import docker, entry, marker, node_files
from private_registry.trust.entry import Entry
from private_registry.trust.formats import daemon_json, etc_hosts, hosts_toml, registries_conf
from private_registry.trust.formats.hosts_toml import HostsToml
from private_registry.trust.node_files import HostDirectory, NodeFiles
from private_registry.trust.reasons import Reason

GOLDEN = Path(__file__).parent / "golden"
RULES = Rules(
    service_ranges=(ip_network("10.96.0.0/16"), ip_network("fd00:96::/112")), allowed_hosts=("*.registry.example.com",)
)
CA = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


def an_entry(**fields: Any) -> Entry:
    """An entry of registries/team behind TLS, with these fields changed."""
    usual = {
        "registry": "registries/team",
        "hosts": ("team.registries.svc:5000", "team.registries.svc.cluster.local:5000", "10.96.12.34:5000"),
        "addresses": ("10.96.12.34",),
        "port": 5000,
        "scheme": "https",
        "ca_bundle": CA,
    }
    return Entry(**{**usual, **fields})


PLAIN = {"scheme": "http", "ca_bundle": ""}
IPV6 = {"hosts": ("team.registries.svc:5000", "[fd00:96::a]:5000"), "addresses": ("fd00:96::a",)}
BROUGHT = {"hosts": ("team.registries.svc:5000",), "server_name": "team.registries.svc"}


def files(each: Entry, rules: Rules = RULES) -> NodeFiles:
    return node_files.allocate([each], rules)[each.registry]


def as_text(of: NodeFiles) -> str:
    """All of it in one text: what containerd reads, then what Docker, CRI-O and podman do."""
    return "".join(
        [
            *_as_texts("containerd: ", of.directories, of.alias([of.server_name]), of),
            *_as_texts("docker: ", docker.directories(of), of.alias(of.names), of),
            *([f"==> docker: {daemon_json.add('{}', plain)}\n"] if (plain := docker.plain_hosts(of)) else []),
            f"==> cri-o: {registries_conf.file_name(of.registry)}\n{registries_conf.render(of).decode()}",
        ]
    )


def _as_texts(
    whose: str, directories: Sequence[HostDirectory], alias: etc_hosts.Alias | None, of: NodeFiles
) -> Iterator[str]:
    for directory in directories:
        for file in directory.files:
            yield f"==> {whose}{directory.host}/{file.name}\n{file.content.decode()}"
    if alias:
        yield f"==> {whose}/etc/hosts\n{alias.line(of.registry, of.entry_hash).decode()}"


SCENARIOS: dict[str, dict[str, Any]] = {
    "https": {},
    "https-ipv6": IPV6,
    "https-node-roots": {"ca_bundle": ""},
    "https-brought-certificate": BROUGHT,
    "https-brought-certificate-ipv6": {**IPV6, **BROUGHT},
    "http": PLAIN,
    "http-ipv6": {**IPV6, **PLAIN},
    "dual-stack": {
        "hosts": ("team.registries.svc:5000", "10.96.12.34:5000", "[fd00:96::a]:5000"),
        "addresses": ("fd00:96::a", "10.96.12.34"),
    },
    "another-port-and-an-allowed-host": {
        "port": 5002,
        "hosts": ("team.registries.svc:5000", "a.registry.example.com"),
    },
}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_each_way_to_serve_has_its_files(scenario: str) -> None:
    """What is written on a node is exactly what was reviewed, byte for byte."""
    assert as_text(files(an_entry(**SCENARIOS[scenario]))) == (GOLDEN / f"{scenario}.txt").read_text()


@pytest.mark.parametrize("fields", [{}, PLAIN, IPV6, {**IPV6, **PLAIN}, BROUGHT])
def test_each_file_reads_back_as_what_was_meant(fields: dict[str, Any]) -> None:
    """A file that does not parse to one server would send a runtime elsewhere, so each is parsed in the test."""
    built = files(an_entry(**fields))
    for directory in built.directories:
        *before, toml = directory.files
        assert toml.name == hosts_toml.FILE
        assert hosts_toml.parse(toml.content) == HostsToml(directory.server, own_ca=bool(before))
        assert [file.name for file in before] in ([], [hosts_toml.CA_FILE])


def test_every_file_says_whose_it_is() -> None:
    """The first line names operator, registry and entry: without it no file is ever changed or removed."""
    built = files(an_entry())
    for directory in built.directories:
        for file in directory.files:
            first = file.content.decode().splitlines()[0]
            assert marker.owner(file.content) == "registries/team"
            assert "private-registry-operator" in first
            assert built.entry_hash in first


@pytest.mark.parametrize("fields", [{}, PLAIN, IPV6, {**IPV6, **PLAIN}, BROUGHT])
def test_each_drop_in_reads_back_as_what_was_meant(fields: dict[str, Any]) -> None:
    """One table for each host, that says whether it is served with TLS and, if they have another, the port of pulls."""
    built = files(an_entry(**fields))
    tables = tomllib.loads(registries_conf.render(built).decode())
    insecure = fields.get("scheme") == "http"
    tables_of = [{"prefix": each.host, "location": each.host, "insecure": insecure} for each in built.directories]
    assert tables == {"registry": tables_of}
    pulls = files(an_entry(**fields, port=5002))
    mirrors = [f"{each.host.removesuffix(':5000')}:5002" for each in pulls.directories]
    assert tomllib.loads(registries_conf.render(pulls).decode()) == {
        "registry": [
            {**table, "mirror": [{"location": mirror, "insecure": insecure}]}
            for table, mirror in zip(tables_of, mirrors, strict=True)
        ]
        + [{"prefix": mirror, "location": mirror, "insecure": insecure} for mirror in mirrors]
    }
    assert [(each.host, each.files) for each in pulls.mirrors] == [
        (mirror, each.files) for mirror, each in zip(mirrors, pulls.certificates, strict=True)
    ]


def test_an_unchanged_entry_gives_the_same_bytes() -> None:
    """Nothing in a file depends on when or where it is written: a steady node gets no write."""
    assert files(an_entry()) == files(
        entry.parse(
            {
                "metadata": {"name": "entry.registries.team"},
                "data": {entry.KEY: an_entry().canonical()},
            }
        )
    )


@pytest.mark.parametrize(
    "host",
    [
        "docker.io",
        "index.docker.io:443",
        "registry.k8s.io",
        "team.registries:5000",
        "other.registries.svc:5000",
        "team.tenant.svc:5000",
        "team.registries.svc:443",
        "team.registries.svc.cluster.local:443",
        "team.registries.svc.example.com:5000",
        "10.96.0.1:443",
        "10.96.99.99:5000",
        "8.8.8.8:5000",
        "[2001:db8::1]:5000",
        "registry.example.com",
    ],
)
def test_a_name_that_is_not_the_registrys_is_left_out(host: str) -> None:
    """A forged entry redirects nobody's images: the name is refused and reported, the registry's own names stay."""
    built = files(an_entry(hosts=("team.registries.svc:5000", host)))
    assert [directory.host for directory in built.directories] == ["team.registries.svc:5000"]
    assert built.refusal is not None
    assert built.refusal.reason is Reason.HOST_NOT_ALLOWED
    assert host in built.refusal.message


@pytest.mark.parametrize("address", ["8.8.8.8", "127.0.0.1", "169.254.169.254", "2001:db8::1"])
def test_an_address_outside_the_service_range_gives_no_file_at_all(address: str) -> None:
    """An entry cannot send a name, not even the registry's own, to anything but a Service."""
    built = files(an_entry(addresses=(address,)))
    assert built.directories == ()
    assert built.refusal is not None
    assert address in built.refusal.message


def test_without_a_known_service_range_nothing_is_written() -> None:
    """An agent that cannot tell what an address of a Service is trusts none, and says what to set."""
    built = files(an_entry(), Rules())
    assert built.directories == ()
    assert built.refusal is not None
    assert "--service-cidr" in built.refusal.message


@pytest.mark.parametrize("name", ["docker.io", "kubernetes.default.svc", "other.registries.svc"])
def test_etc_hosts_gets_no_name_that_is_not_the_registrys(name: str) -> None:
    """A brought certificate is no way to redirect a name on the nodes."""
    built = files(an_entry(hosts=("team.registries.svc:5000",), server_name=name))
    assert (built.directories, built.certificates, built.names) == ((), (), ())
    assert built.refusal is not None
    assert name in built.refusal.message


def test_a_host_belongs_to_the_registry_that_had_it_first() -> None:
    """Two registries never fight over one name on a node."""
    shared = "images.registry.example.com"
    older = an_entry(hosts=("team.registries.svc:5000", shared))
    newer = an_entry(registry="registries/other", hosts=("other.registries.svc:5000", shared))
    built = node_files.allocate([older, newer], RULES)
    assert [each.host for each in built["registries/team"].directories] == list(older.hosts)
    assert [each.host for each in built["registries/other"].directories] == ["other.registries.svc:5000"]
    refusal = built["registries/other"].refusal
    assert refusal is not None
    assert (refusal.reason, "registries/team" in refusal.message) == (Reason.HOST_TAKEN, True)


def test_a_name_has_one_registry_whatever_the_port() -> None:
    """A line in /etc/hosts knows no port: the younger one's would redirect the older one's images."""
    rules = Rules(service_ranges=RULES.service_ranges, allowed_hosts=("a.example.com:*",))
    older = an_entry(hosts=("team.registries.svc:5000", "a.example.com:5000"))
    younger = an_entry(
        registry="registries/other",
        hosts=("other.registries.svc:5000", "a.example.com:5001"),
        addresses=("10.96.12.35",),
    )
    built = node_files.allocate([older, younger], rules)
    assert built["registries/team"].names == ("team.registries.svc", "a.example.com")
    assert built["registries/other"].names == ("other.registries.svc",)
    refusal = built["registries/other"].refusal
    assert refusal is not None
    assert (refusal.reason, "registries/team" in refusal.message) == (Reason.HOST_TAKEN, True)


@pytest.mark.parametrize(
    ("host", "shadow"),
    [
        ("team.registries.svc:5000", "team.registries.svc_5000_"),
        ("[fd00:96::a]:5000", "[fd00:96::a]_5000_"),
        ("a.registry.example.com", None),
    ],
)
def test_the_directory_that_a_runtime_prefers_is_known(host: str, shadow: str | None) -> None:
    """A runtime reads `host_port_` rather than `host:port`; a host without port has one directory only."""
    fields = IPV6 if "[" in host else {}
    built = files(an_entry(**{**fields, "hosts": ("team.registries.svc:5000", host)}))
    assert next(each.shadow for each in built.directories if each.host == host) == shadow


if __name__ == "__main__":
    for scenario, fields in SCENARIOS.items():
        (GOLDEN / f"{scenario}.txt").write_text(as_text(files(an_entry(**fields))))
