"""The Job of a sweep: a pod without rights, that is told where the registry is and finds the rest in files."""

import json
from typing import Any

import pytest

from private_registry.api import names
from private_registry.registry.metadata import asked_hash
from private_registry.registry.sweep import orders_config_map, report_config_map, sweep_job
from tests.registries import a_registry

RULES = {"retention": {"rules": [{"repositories": "*", "keepLast": 1}]}}
PLAIN = {"tls": {"mode": "Disabled"}, "auth": {"mode": "None"}}


def made(spec: dict[str, Any] | None = None, *, has_ca: bool = True) -> dict[str, Any]:
    registry = a_registry({**RULES, **(spec or {})}).model_copy(update={"sweep": "now"})
    return sweep_job(registry, image="i", url="https://10.96.0.7:5000", server_name="", has_ca=has_ca)


def pod_of(job: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = job["spec"]["template"]["spec"]
    return spec


def mounted(job: dict[str, Any]) -> dict[str, list[str]]:
    """The keys of each ConfigMap and Secret that its pod has."""
    (volume,) = pod_of(job)["volumes"]
    sources = [next(iter(source.values())) for source in volume["projected"]["sources"]]
    return {source["name"]: [item["key"] for item in source["items"]] for source in sources}


def test_its_pod_has_no_right_and_no_privilege() -> None:
    """No account's token, no root, nothing that it could write to, and no claim."""
    spec = pod_of(made())
    assert spec["automountServiceAccountToken"] is False
    assert "serviceAccountName" not in spec
    assert spec["securityContext"]["runAsNonRoot"] is True
    (container,) = spec["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert all(mount["readOnly"] for mount in container["volumeMounts"])
    assert "persistentVolumeClaim" not in json.dumps(spec)


def test_the_credential_is_a_file() -> None:
    """In no argument and no variable, which whoever sees the process reads."""
    (container,) = pod_of(made())["containers"]
    assert "env" not in container
    assert not [each for each in container["args"] if "password" in each or "username" in each]
    assert mounted(made()) == {
        "team-images": ["orders.json"],
        "team-ca": ["ca.crt"],
        "team-credentials": ["username", "password"],
    }
    assert mounted(made(PLAIN, has_ca=False)) == {"team-images": ["orders.json"]}


@pytest.mark.parametrize(
    ("spec", "reads_openly"),
    [
        ({}, True),
        (PLAIN, False),
        ({"auth": {"anonymousPull": False}}, False),
        ({"auth": {"anonymousPull": False, "pullSecret": {"namespaces": ["apps"]}}}, False),
    ],
)
def test_it_reads_where_nobody_is_asked(spec: dict[str, Any], reads_openly: bool) -> None:
    """Each request with a password costs the registry fifty milliseconds; where pulls are open, reading costs none."""
    (container,) = pod_of(made(spec))["containers"]
    assert ("--pull-port=5002" in container["args"]) is reads_openly


def test_nobody_pulls_from_it() -> None:
    """Neither the Service nor the Deployment takes its pod for one of the registry's."""
    job = made()
    for labels in (job["metadata"]["labels"], job["spec"]["template"]["metadata"]["labels"]):
        assert not names.selector("team").items() <= labels.items()
        assert labels[names.REGISTRY_UID] == a_registry().uid


def test_it_is_tried_once_and_ends() -> None:
    """What one list has decided is not done with by an older one; and nothing hangs for ever."""
    spec = made()["spec"]
    assert (spec["backoffLimit"], spec["activeDeadlineSeconds"]) == (0, 3600)
    assert pod_of(made())["restartPolicy"] == "Never"
    assert made()["metadata"]["annotations"] == {names.SWEEP: "now"}


def test_everything_of_it_goes_with_the_registry() -> None:
    """Job and lists have the registry as their owner."""
    registry = a_registry(RULES)
    for obj in (made(), orders_config_map(registry, "{}"), report_config_map(registry, "", "a uid")):
        assert [owner["uid"] for owner in obj["metadata"]["ownerReferences"]] == [registry.uid]
        assert len(obj["metadata"]["name"]) <= 63


def test_rules_do_not_roll_the_pods_out() -> None:
    """What stays is nothing that a registry's pod has to know."""
    assert asked_hash(a_registry(RULES)) == asked_hash(a_registry({}))
