"""The trust entry: what the operator makes of a registry, and what an agent makes of anything it is handed."""

import json
from ipaddress import ip_network
from typing import Any

import pytest

from private_registry.api import names
from private_registry.api.conditions import Reason
from private_registry.api.hosts import Rules
from private_registry.trust import entry, publish
from private_registry.trust.entry import EntryInvalidError
from private_registry.trust.publish import Built
from tests.certificates import an_authority
from tests.registries import a_registry

RULES = Rules(
    service_ranges=(ip_network("10.96.0.0/16"), ip_network("fd00:96::/112")),
    allowed_hosts=("*.example.com", "*.example.com:5001"),
)
CA = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


def build(spec: dict[str, Any] | None = None, **how: Any) -> Built:
    usual: dict[str, Any] = {"cluster_ips": ["10.96.12.34"], "ca_bundle": CA, "rules": RULES}
    return publish.build(a_registry(spec), **{**usual, **how})


def config_map(**changes: Any) -> dict[str, Any]:
    """The ConfigMap of a good entry with these fields of its JSON changed."""
    good = json.loads(build().entry.canonical())
    data = json.dumps({**good, **changes}, sort_keys=True, separators=(",", ":"))
    return {"metadata": {"name": "entry.registries.team"}, "data": {entry.KEY: data}}


class TestWhatTheOperatorMakes:
    """From a registry and its addresses to an entry."""

    def test_a_registry_is_trusted_by_its_service_names_and_address(self) -> None:
        """Three names and no fourth: two-label names could shadow real ones."""
        built = build()
        assert built.entry.hosts == (
            "team.registries.svc:5000",
            "team.registries.svc.cluster.local:5000",
            "10.96.12.34:5000",
        )
        assert (built.entry.scheme, built.entry.ca_bundle, built.refusals) == ("https", CA, ())

    def test_plain_http_carries_no_certificate(self) -> None:
        """A CA beside an http address would make containerd try TLS first."""
        built = build({"tls": {"mode": "Disabled"}, "auth": {"mode": "None"}})
        assert (built.entry.scheme, built.entry.ca_bundle) == ("http", "")

    def test_both_families_are_names_in_the_services_order(self) -> None:
        """A dual-stack Service is reached at its own first address."""
        built = build(cluster_ips=["fd00:96::a", "10.96.12.34"])
        assert built.entry.addresses == ("fd00:96::a", "10.96.12.34")
        assert built.entry.hosts[2:] == ("[fd00:96::a]:5000", "10.96.12.34:5000")

    def test_a_certificate_without_address_leaves_the_address_out(self) -> None:
        """Only names that the certificate covers are trusted, and the nodes reach it by the name."""
        built = build(server_name="team.registries.svc", covered=lambda name: name == "team.registries.svc")
        assert built.entry.hosts == ("team.registries.svc:5000",)
        assert built.entry.server_name == "team.registries.svc"

    @pytest.mark.parametrize(
        ("host", "reason"),
        [
            ("../etc", Reason.HOST_INVALID),
            ("a/b", Reason.HOST_INVALID),
            ("a.example.com\n", Reason.HOST_INVALID),
            ('a".example.com', Reason.HOST_INVALID),
            ("A.example.com", Reason.HOST_INVALID),
            (".".join(["x" * 60] * 4) + ".example.com", Reason.HOST_INVALID),
            ("docker.io", Reason.HOST_NOT_ALLOWED),
            ("team.registries:5000", Reason.HOST_NOT_ALLOWED),
            ("other.registries.svc:5000", Reason.HOST_NOT_ALLOWED),
            ("10.96.0.1:5000", Reason.HOST_NOT_ALLOWED),
            ("taken.example.com", Reason.HOST_TAKEN),
            ("taken.example.com:5001", Reason.HOST_TAKEN),
            ("uncovered.example.com", Reason.CERTIFICATE_INVALID),
        ],
    )
    def test_a_bad_name_is_refused_alone(self, host: str, reason: Reason) -> None:
        """One name that cannot be had is reported; the registry keeps all the others."""
        built = build(
            {"nodeTrust": {"additionalHosts": ["good.example.com", host]}},
            taken_hosts={"taken.example.com": "registries/other"},
            covered=lambda name: not name.startswith("uncovered"),
        )
        assert [(refusal.host, refusal.reason) for refusal in built.refusals] == [(host, reason)]
        assert "good.example.com" in built.entry.hosts
        assert len(built.entry.hosts) == 4

    def test_only_certificates_reach_the_nodes(self) -> None:
        """A private key that somebody left in ca.crt is not spread over the cluster."""
        authority = an_authority()
        built = build(ca_bundle=f"of the team\r\n{authority.key_pem}{authority.cert_pem}")
        assert "PRIVATE KEY" not in built.entry.ca_bundle
        assert built.entry.ca_bundle == authority.cert_pem

    def test_a_bundle_that_does_not_fit_is_refused_with_the_reason(self) -> None:
        """An entry has at most 64 KiB."""
        with pytest.raises(EntryInvalidError, match="shorten the CA bundle"):
            build(ca_bundle="".join(an_authority().cert_pem for _ in range(150)))

    def test_without_an_address_there_is_no_entry(self) -> None:
        """A Service without ClusterIP cannot be trusted by nodes, which do not ask the cluster's DNS."""
        with pytest.raises(EntryInvalidError, match="addresses"):
            build(cluster_ips=[])

    def test_without_a_known_service_range_addresses_are_refused_with_the_fix(self) -> None:
        """The operator says what to set."""
        built = build(rules=Rules())
        assert ["--service-cidr" in refusal.message for refusal in built.refusals] == [True]

    def test_the_object_is_found_by_its_labels(self) -> None:
        """Agents select entries by label, and a person finds the registry that one belongs to."""
        registry = a_registry()
        obj = publish.config_map(build().entry, registry, "agents")
        labels = obj["metadata"]["labels"]
        assert obj["metadata"]["name"] == "entry.registries.team"
        assert entry.LABELS.items() <= labels.items()
        assert labels[names.REGISTRY_UID] == registry.uid


class TestWhatAnAgentReads:
    """Everything in the agents' namespace is hostile until it is parsed."""

    def test_an_entry_survives_the_way(self) -> None:
        """What the operator wrote is what the agent reads, and both give it the same hash."""
        built = build({"nodeTrust": {"nodeSelector": {"pool": "build"}}})
        obj = publish.config_map(built.entry, a_registry(), "agents")
        assert entry.parse(obj) == built.entry
        assert entry.hash_of(entry.data_of(obj)) == entry.hash_of(built.entry.canonical())

    def test_a_newer_format_is_named(self) -> None:
        """An old agent says what it met and what to do, and keeps what it has."""
        with pytest.raises(EntryInvalidError, match="format version 2, this agent reads 1: update it"):
            entry.parse(config_map(formatVersion=2))

    @pytest.mark.parametrize(
        "changes",
        [
            {"somethingNew": True},
            {"registry": 7},
            {"addresses": "10.96.12.34"},
            {"hosts": [7]},
            {"scheme": None},
            {"caBundle": None},
            {"serverName": None},
            {"serverName": 7},
            {"nodeSelector": []},
            {"nodeSelector": {str(number): "x" for number in range(17)}},
            {"formatVersion": True},
            {"registry": "registries/../etc"},
            {"registry": "registries/team\n"},
            {"registry": "registries/team/x"},
            {"hosts": []},
            {"hosts": ["../../../etc/cron.d"]},
            {"hosts": ["a/b:5000"]},
            {"hosts": ["team.registries.svc:5000\n[host]"]},
            {"hosts": ['team.registries.svc:5000"']},
            {"hosts": ["TEAM.registries.svc:5000"]},
            {"hosts": ["_default"]},
            {"hosts": [".."]},
            {"hosts": ["a.example.com"] * 33},
            {"hosts": "team.registries.svc:5000"},
            {"addresses": []},
            {"addresses": ["10.96.12.34\n"]},
            {"addresses": ["010.96.12.34"]},
            {"addresses": ["fd00:0096::a"]},
            {"addresses": ["fd00:96::a%eth0"]},
            {"addresses": ["fd00:96::a%\n127.0.0.1 docker.io #"]},
            {"addresses": ["evil.example.com"]},
            {"port": 0},
            {"port": 65536},
            {"port": "5000"},
            {"port": True},
            {"scheme": "file"},
            {"scheme": "http"},
            {"caBundle": "no certificate"},
            {"caBundle": "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n"},
            {"caBundle": f"{CA}\nskip_verify = true"},
            {"caBundle": CA.replace("MIIB", "MI\u3000IB")},
            {"serverName": "a b"},
            {"serverName": 'x"'},
            {"serverName": "x\n127.0.0.1 docker.io"},
            {"nodeSelector": {"a": 1}},
            {"formatVersion": "1"},
            {"formatVersion": 1.0},
            {"serverName": float("nan")},
        ],
        ids=str,
    )
    def test_what_does_not_fit_is_refused_as_a_whole(self, changes: dict[str, Any]) -> None:
        """No field of an entry can carry anything but what it is for."""
        with pytest.raises(EntryInvalidError):
            entry.parse(config_map(**changes))

    def test_what_is_said_twice_is_refused(self) -> None:
        """Two readers of the same text could read two things: an entry is spelled as the operator spells it."""
        obj = config_map()
        good = obj["data"][entry.KEY]
        for data in (f'{good[:-1]},"port":5001}}', f'{{"port":5001,{good[1:]}', f" {good}"):
            with pytest.raises(EntryInvalidError, match="not spelled as the operator spells it"):
                entry.parse({**obj, "data": {entry.KEY: data}})

    def test_a_strange_field_is_named_in_plain_characters(self) -> None:
        """Half of a character would make a status that the API server never gives back as it was written."""
        with pytest.raises(EntryInvalidError) as refusal:
            entry.parse(config_map(**{"\ud800\n": 1}))
        assert str(refusal.value) == r"unknown or missing: '\ud800\n'"

    @pytest.mark.parametrize("data", [None, {}, {"other": "x"}, {entry.KEY: ""}, {entry.KEY: "[]"}, {entry.KEY: "{"}])
    def test_a_config_map_without_an_entry_is_refused(self, data: Any) -> None:
        """A ConfigMap that carries our label by mistake harms nobody."""
        with pytest.raises(EntryInvalidError):
            entry.parse({"metadata": {"name": "entry.registries.team"}, "data": data})

    def test_a_field_that_is_missing_is_named(self) -> None:
        """Nothing is guessed."""
        fields = json.loads(build().entry.canonical())
        del fields["caBundle"]
        with pytest.raises(EntryInvalidError, match="unknown or missing: 'caBundle'"):
            entry.parse({"metadata": {"name": "entry.registries.team"}, "data": {entry.KEY: json.dumps(fields)}})

    def test_no_depth_of_nesting_ends_the_agent(self) -> None:
        """Brackets are cheap to write."""
        with pytest.raises(EntryInvalidError):
            entry.parse({"metadata": {"name": "entry.registries.team"}, "data": {entry.KEY: "[" * 60_000}})

    def test_more_than_64_kib_is_not_even_parsed(self) -> None:
        """An agent's memory is bounded."""
        with pytest.raises(EntryInvalidError, match="more than 65536"):
            entry.parse({"metadata": {"name": "entry.registries.team"}, "data": {entry.KEY: " " * 70_000}})

    def test_an_entry_speaks_only_for_its_own_name(self) -> None:
        """The ConfigMap of one registry cannot pass for another's."""
        obj = config_map()
        obj["metadata"]["name"] = "entry.registries.other"
        with pytest.raises(EntryInvalidError, match="speaks of registries/team"):
            entry.parse(obj)

    def test_nodes_are_selected_by_label(self) -> None:
        """All labels of the selector have to be the node's; a selector that is empty takes every node."""
        picky = build({"nodeTrust": {"nodeSelector": {"pool": "build", "disk": "ssd"}}}).entry
        assert picky.selects({"pool": "build", "disk": "ssd", "zone": "a"})
        assert not picky.selects({"pool": "build"})
        assert build().entry.selects({})
