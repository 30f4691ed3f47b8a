"""The files that a cluster is given, read back as it reads them."""

import os
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.cluster import versions
from tests.cluster.commands import output
from tests.cluster.processes.process import program

ROOT = Path(__file__).parent.parent.parent
INSTALLATION = "manifests"
OPTIONS = {
    "plain": (),
    "startup taint": ("manifests/startup-taint",),
    "network policies": ("manifests/network-policies",),
}
"""What there is to choose, each with its kustomize components."""
EXAMPLES = sorted((ROOT / "manifests/examples").glob("*.yaml"))

Object = dict[str, Any]


def documents(text: str) -> list[Object]:
    """The documents of a YAML text that holds several, without empty ones."""
    return [document for document in yaml.safe_load_all(text) if document]


def schema(plural: str) -> Object:
    """The schema of a CRD of ours."""
    [definition] = documents((ROOT / f"crds/{plural}.yaml").read_text())
    [version] = definition["spec"]["versions"]
    return dict(version["schema"]["openAPIV3Schema"])


def rendered(directory: str) -> list[Object]:
    """What `kubectl apply -k` of a directory would apply. Raises NotBuiltError where there is no kubectl yet."""
    return documents(_kustomize(directory))


def installation(options: str) -> list[Object]:
    """The installation with one of the OPTIONS. Raises NotBuiltError where there is no kubectl yet."""
    return documents(_installation(options))


@cache
def _installation(options: str) -> str:
    if not OPTIONS[options]:
        return _kustomize(INSTALLATION)
    with tempfile.TemporaryDirectory() as directory:
        # As an administrator's own kustomization has it, with relative paths, which is all that kustomize takes.
        parts = (INSTALLATION, *OPTIONS[options])
        base, *components = (os.path.relpath(ROOT / each, os.path.realpath(directory)) for each in parts)
        overlay = f"resources: [{base}]\ncomponents: [{', '.join(components)}]\n"
        (Path(directory) / "kustomization.yaml").write_text(overlay)
        return _kustomize(directory)


@cache
def _kustomize(directory: str) -> str:
    return output(program(f"kubernetes-{versions.KUBERNETES}", "kubectl"), "kustomize", ROOT / directory)


def named(objects: list[Object], kind: str, name: str) -> Object:
    """The one object of that kind and name."""
    [found] = [each for each in objects if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return found


def pods(objects: list[Object]) -> dict[str, Object]:
    """The pod templates among the objects, by the name of their workload."""
    return {
        each["metadata"]["name"]: each["spec"]["template"] for each in objects if "template" in each.get("spec", {})
    }
