"""A PrivateRegistry as it is read from the API server."""

from typing import Any

import pytest
from pydantic import ValidationError

from private_registry.api import names
from private_registry.api.registry import RegistryStatus, Spec, SpecInvalidError, parse, parse_status

METADATA = {"name": "team", "namespace": "registries", "uid": "a-uid"}


class TestTheSpec:
    """What its owner asks for."""

    @pytest.mark.parametrize("spec", [None, {}])
    def test_an_empty_one_is_enough(self, spec: Any) -> None:
        """Without a word the registry has a volume, TLS, deletion and the trust of every node, and keeps its data."""
        read = parse({"metadata": METADATA, "spec": spec}).spec
        assert read.storage.delete_enabled
        assert read.storage.wanted_size == "20Gi"
        assert read.storage.access_mode == "ReadWriteOnce"
        assert read.storage.reclaim_policy == "Retain"
        assert read.tls.mode == "Managed"
        assert read.service.type == "ClusterIP"
        assert read.node_trust.enabled
        assert read.resources.requests == {"cpu": "100m", "memory": "128Mi"}

    @pytest.mark.parametrize(
        ("spec", "message"),
        [
            ({"storge": {}}, "spec.storge: Extra inputs are not permitted"),
            ({"storage": {"siez": "1Gi"}}, "spec.storage.siez: Extra inputs are not permitted"),
            ({"tls": {"mode": "Maybe"}}, "spec.tls.mode: Input should be 'Managed', 'Secret' or 'Disabled'"),
            (
                {"storage": {"deleteEnabled": "perhaps"}},
                "spec.storage.deleteEnabled: Input should be a valid boolean, unable to interpret input",
            ),
            (
                {"storage": {"claimName": ""}},
                "spec.storage.claimName: String should have at least 1 character",
            ),
            (
                {"image": "", "service": {"type": "ExternalName"}},
                (
                    "spec.service.type: Input should be 'ClusterIP', 'NodePort' or 'LoadBalancer'; "
                    "spec.image: String should have at least 1 character"
                ),
            ),
        ],
    )
    def test_what_does_not_fit_is_named(self, spec: dict[str, Any], message: str) -> None:
        """Each field that does not fit is named as its owner wrote it, all of them at once."""
        with pytest.raises(SpecInvalidError) as refused:
            parse({"metadata": METADATA, "spec": spec})
        assert str(refused.value) == message

    @pytest.mark.parametrize("spec", ["text", 1, ["list"]])
    def test_no_object_at_all(self, spec: Any) -> None:
        """A spec that is no object is refused like a field that does not fit."""
        with pytest.raises(SpecInvalidError, match=r"^spec: Input should be"):
            parse({"metadata": METADATA, "spec": spec})

    def test_it_cannot_be_changed(self) -> None:
        """What was read is a fact: no part of the operator can alter it for the others."""
        with pytest.raises(ValidationError, match="frozen"):
            Spec().storage.delete_enabled = False  # type: ignore[misc]


class TestTheObject:
    """What follows from an object as a whole."""

    def test_what_it_is_called(self) -> None:
        """Its host goes in front of an image's name."""
        registry = parse({"metadata": METADATA})
        assert (registry.key, registry.host) == ("registries/team", "team.registries.svc:5000")

    def test_whose_claim_it_uses(self) -> None:
        """Its own, unless one is named."""
        assert parse({"metadata": METADATA}).claim_name == "team-data"
        assert parse({"metadata": METADATA, "spec": {"storage": {"claimName": "mine"}}}).claim_name == "mine"

    @pytest.mark.parametrize(
        ("tls", "secret"),
        [
            ({}, "team-certificate"),
            ({"mode": "Secret", "secretName": "brought"}, "team-certificate"),
            ({"mode": "Disabled"}, None),
        ],
    )
    def test_what_it_serves_with(self, tls: dict[str, str], secret: str | None) -> None:
        """A Secret that is brought is never mounted itself: what serves does not break with it."""
        assert parse({"metadata": METADATA, "spec": {"tls": tls}}).certificate_secret == secret

    def test_whether_it_is_on_its_way_out(self) -> None:
        """A deletion timestamp means that nothing is created any more."""
        assert not parse({"metadata": METADATA}).deleting
        assert parse({"metadata": {**METADATA, "deletionTimestamp": "2026-03-01T12:00:00Z"}}).deleting

    def test_its_children_name_it(self) -> None:
        """The owner reference is that of a controller, so the garbage collector takes them with it."""
        assert parse({"metadata": METADATA}).owner_reference() == {
            "apiVersion": "privateregistry.dev/v1alpha1",
            "kind": "PrivateRegistry",
            "name": "team",
            "uid": "a-uid",
            "controller": True,
            "blockOwnerDeletion": True,
        }


class TestTheStatus:
    """What an operator wrote, perhaps another version of it."""

    def test_it_is_read_back_as_written(self) -> None:
        """A status survives the way to the API server and back."""
        status = RegistryStatus(host="team.registries.svc:5000", cluster_ips=("10.96.0.1",), entry_hash="5f")
        written = status.model_dump(by_alias=True, mode="json")
        assert written["clusterIPs"] == ["10.96.0.1"]
        assert parse_status(written) == status

    @pytest.mark.parametrize("status", [{"conditions": "none"}, {"clusterIPs": {"a": 1}}, {"nodes": []}])
    def test_one_that_does_not_fit_counts_as_none(self, status: dict[str, Any]) -> None:
        """A status that cannot be read is written anew and stops nothing."""
        assert parse_status(status) == RegistryStatus()

    def test_where_there_are_copies_is_not_forgotten(self) -> None:
        """Whatever else cannot be read: no look at the cluster would tell."""
        copies = {"pullSecretNamespaces": ["apps"], "problems": [{"reason": "OfALaterVersion", "message": "?"}]}
        assert parse_status({"copies": copies}).copies.namespaces == ("apps",)
        assert parse_status({"copies": copies, "nodes": []}).copies.namespaces == ("apps",)
        assert parse_status({"copies": {"pullSecretNamespaces": 1}, "nodes": []}) == RegistryStatus()

    def test_a_field_of_a_later_version_is_overlooked(self) -> None:
        """After a downgrade the rest of the status still counts."""
        assert parse_status({"host": "x.y.svc:5000", "later": 1}).host == "x.y.svc:5000"


class TestNames:
    """Names of what belongs to a registry."""

    def test_an_entry_s_name_leads_back(self) -> None:
        """A trust entry's name says whose it is; nothing else is taken for one."""
        assert names.registry_of_entry(names.entry("registries", "team")) == ("registries", "team")
        for other in (
            "complete",
            "entry",
            "entry.a",
            "entry..b",
            "entry.a.",
            "entry.a.b.c",
            "other.a.b",
            f"entry.{'a' * 64}.b",
        ):
            assert names.registry_of_entry(other) is None

    def test_no_two_registries_share_an_entry(self) -> None:
        """Hyphens may be anywhere in names, so the parts are kept apart by what no name holds."""
        assert names.entry("a-b", "c") != names.entry("a", "b-c")

    def test_no_two_registries_share_a_copy(self) -> None:
        """Likewise in the namespaces that both of them are for."""
        for name in (names.pull_secret_copy, names.ca_copy):
            assert name("a-b", "c") != name("a", "b-c")

    def test_the_labels_of_a_child_hold_the_selector(self) -> None:
        """What a Service and a Deployment select is on every pod."""
        assert names.selector("team").items() <= names.labels("team", "a-uid").items()
