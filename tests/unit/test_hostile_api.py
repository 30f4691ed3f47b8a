"""More than 10,000 texts that want to be hosts, and all that may be put into a PrivateRegistry, through `api`."""

import re
from typing import Any

import pytest

from private_registry.api.hosts import InvalidHostError, Rules, parse_host
from private_registry.api.registry import Spec, SpecInvalidError, parse
from private_registry.trust import publish
from tests.hostile import SEED, hosts, values, words
from tests.node_reading import RULES, is_permitted
from tests.registries import a_registry

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_CANONICAL = re.compile(rf"({_LABEL}(\.{_LABEL})*|\[[0-9a-f:.]+\])(:[1-9][0-9]*)?", re.ASCII)
_CLUSTERS = re.compile(r"(.*\.)?(svc|cluster\.local)(:[0-9]+)?|[0-9.]+(:[0-9]+)?|\[.*", re.ASCII)


def test_a_host_is_one_or_it_is_refused() -> None:
    """Each text is a host in its one spelling, of characters that mean nothing to any file or path, or it is none."""
    assert len(hosts()) >= 10_000
    found, refusals = 0, []
    for text in hosts():
        try:
            host = parse_host(text)
        except InvalidHostError as error:
            refusals.append(str(error))
            continue
        found += 1
        assert str(host) == text, f"seed {SEED}: {text!r}"
        assert _CANONICAL.fullmatch(text), f"seed {SEED}: {text!r}"
        assert len(host.name) <= 253, f"seed {SEED}: {text!r}"
        assert host.port is None or 1 <= host.port <= 65535, f"seed {SEED}: {text!r}"
        assert host.port is not None or "." in text or ":" in text, f"seed {SEED}: {text!r}"
    assert found >= 300, "the generator makes no good ones any more"
    assert [each for each in refusals if not each.isprintable()] == [], f"seed {SEED}"


def test_a_pattern_for_everything_lets_no_name_of_the_cluster_through() -> None:
    """Whatever the administrator allows: names of Services and addresses are nobody's to ask for."""
    everything = Rules(service_ranges=RULES.service_ranges, allowed_hosts=("*",))
    for text in hosts():
        try:
            allowed = everything.is_allowed(parse_host(text))
        except InvalidHostError:
            continue
        assert allowed != bool(_CLUSTERS.fullmatch(text)), f"seed {SEED}: {text!r}"


def test_the_operator_publishes_what_is_permitted_and_nothing_else() -> None:
    """Of all that is asked for, a registry gets what the administrator allows; the others are refused by name."""
    address = "127.96.12.34"
    for start in range(0, len(hosts()), 16):
        asked = list(hosts()[start : start + 16])
        spec = Spec.model_construct(**dict(a_registry({"tls": {"mode": "Disabled"}}).spec))
        trust = spec.node_trust.model_copy(update={"additional_hosts": tuple(asked)})
        registry = a_registry().model_copy(update={"spec": spec.model_copy(update={"node_trust": trust})})
        built = publish.build(registry, cluster_ips=[address], ca_bundle="", rules=RULES)
        for host in built.entry.hosts:
            assert is_permitted(host, "registries/team", [address]), f"seed {SEED}: {host!r}"
        left_out = {refusal.host for refusal in built.refusals}
        assert left_out == set(asked) - set(built.entry.hosts), f"seed {SEED}: {asked!r}"


PLACES = (
    ("storage", "size"),
    ("storage", "storageClassName"),
    ("storage", "accessMode"),
    ("storage", "claimName"),
    ("tls", "secretName"),
    ("tls", "mode"),
    ("service", "type"),
    ("nodeTrust", "nodeSelector"),
    ("nodeTrust", "additionalHosts"),
    ("nodeTrust", "enabled"),
    ("resources", "requests"),
    ("scheduling", "imagePullSecrets"),
)


@pytest.mark.parametrize("place", PLACES, ids=".".join)
def test_a_field_is_what_it_is_for_or_the_object_is_refused(place: tuple[str, str]) -> None:
    """Whatever stands in a field, the operator goes on: it reads the object or says which field does not fit."""
    section, field = place
    unclear = []
    for value in (*tuple(words())[::7], *values()):
        for each in (value, [value], {"x": value}, [{"name": value}]):
            body: dict[str, Any] = {
                "metadata": {"name": "team", "namespace": "registries", "uid": "u"},
                "spec": {section: {field: each}},
            }
            try:
                parse(body)
            except SpecInvalidError as error:
                if not str(error).startswith(f"spec.{section}.{field}"):
                    unclear.append((each, str(error)))
    assert unclear == [], f"seed {SEED}"


def test_no_name_of_an_object_leads_out_of_its_namespace() -> None:
    """The operator asks for Secrets and claims by names that a tenant writes: each stays one part of a path."""
    for word in words():
        for spec in ({"tls": {"mode": "Secret", "secretName": word}}, {"storage": {"claimName": word}}):
            try:
                registry = a_registry(spec)
            except SpecInvalidError:
                continue
            name = registry.spec.tls.secret_name or registry.claim_name
            assert re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", name, re.ASCII), f"seed {SEED}: {word!r}"
            assert ".." not in name, f"seed {SEED}: {word!r}"
