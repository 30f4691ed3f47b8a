"""Every object of a registry, spelled out: one file per scenario in golden_registry/.

After an intended change, write them anew and read the difference:

    PYTHONPATH=operator .venv/bin/python -m tests.unit.test_registry_golden
"""

from pathlib import Path
from typing import Any

import pytest
import yaml

from private_registry.api import names
from tests.registries import SCENARIOS, a_registry, objects

GOLDEN = Path(__file__).parent / "golden_registry"


def golden(scenario: str) -> str:
    made = objects(a_registry(SCENARIOS[scenario]))
    return yaml.dump_all(made, Dumper=_Dumper, sort_keys=False, width=120)


class _Dumper(yaml.SafeDumper):
    """Spells out what occurs twice, and shows a file within a file as lines."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _lines(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _lines)

every_scenario = pytest.mark.parametrize("scenario", SCENARIOS)


@every_scenario
def test_objects_are_as_written_down(scenario: str) -> None:
    """What is applied for a spec changes only when somebody means it to."""
    assert golden(scenario) == (GOLDEN / f"{scenario}.yaml").read_text()


def test_no_golden_file_is_forgotten() -> None:
    """Each file belongs to a scenario."""
    assert {path.stem for path in GOLDEN.glob("*.yaml")} == set(SCENARIOS)


@every_scenario
def test_everything_is_told_apart_from_what_is_not_ours(scenario: str) -> None:
    """Each object says which registry it was made for, and goes with it; the claim with the images does not."""
    registry = a_registry(SCENARIOS[scenario])
    for obj in objects(registry):
        about = obj["metadata"]
        assert about["namespace"] == "registries"
        assert about["labels"][names.MANAGED_BY] == names.MANAGER
        assert about["labels"][names.REGISTRY_UID] == registry.uid
        owners = about.get("ownerReferences", [])
        assert [owner["uid"] for owner in owners] == ([] if obj["kind"] == "PersistentVolumeClaim" else [registry.uid])


@every_scenario
def test_pods_are_restricted(scenario: str) -> None:
    """Every pod passes the `restricted` Pod Security level (kubernetes.io/docs/concepts/security) and has no token."""
    volume_types = {"configMap", "emptyDir", "persistentVolumeClaim", "projected", "secret"}
    pods = [obj for obj in objects(a_registry(SCENARIOS[scenario])) if obj["kind"] in {"Deployment", "Pod"}]
    for obj in pods:
        spec = obj["spec"]["template"]["spec"] if obj["kind"] == "Deployment" else obj["spec"]
        assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & set(spec)
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for volume in spec.get("volumes", []):
            assert len(volume.keys() & volume_types) == 1
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": True,
            }
            assert not any("hostPort" in port for port in container.get("ports", []))


@every_scenario
def test_nothing_is_asked_for_that_the_server_would_drop(scenario: str) -> None:
    """An empty field is dropped by the API server, and would then look changed for ever."""

    def empty(value: Any, path: str) -> list[str]:
        if isinstance(value, dict):
            return [hit for key, each in value.items() for hit in empty(each, f"{path}.{key}")] or [path] * (not value)
        if isinstance(value, list):
            return [hit for each in value for hit in empty(each, f"{path}[]")] or [path] * (not value)
        return [path] if value is None or value == "" else []

    for obj in objects(a_registry(SCENARIOS[scenario])):
        assert empty(obj, obj["kind"]) == []


def test_the_longest_name_fits_everywhere() -> None:
    """A registry of 52 characters, the most that the CRD takes, has children whose names the API server takes."""
    for obj in objects(a_registry(name="a" * 52)):
        name, labels = obj["metadata"]["name"], obj["metadata"]["labels"]
        assert len(name) <= (63 if obj["kind"] in {"Service", "Deployment"} else 253)
        assert all(len(value) <= 63 for value in labels.values())


def write() -> None:
    GOLDEN.mkdir(exist_ok=True)
    for scenario in SCENARIOS:
        (GOLDEN / f"{scenario}.yaml").write_text(golden(scenario))


if __name__ == "__main__":
    write()
