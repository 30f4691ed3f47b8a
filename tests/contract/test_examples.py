"""The examples in manifests/examples are what a person copies."""

import re
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest

from private_registry.api.registry import Spec
from private_registry.controller.settings import DEFAULT_IMAGE
from tests.contract.documents import EXAMPLES, ROOT, Object, documents, schema


def closed(node: Object) -> Object:
    """The schema of a CRD as `kubectl apply` holds an object against it: an unknown field is an error."""
    inside: Object = {key: closed(node[key]) for key in ("items", "additionalProperties") if key in node}
    if "properties" in node:
        inside["properties"] = {name: closed(child) for name, child in node["properties"].items()}
        inside.setdefault("additionalProperties", False)
    return {**node, **inside}


def registries(path: Path) -> list[Object]:
    return [each for each in documents(path.read_text()) if each["kind"] == "PrivateRegistry"]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_valid(path: Path) -> None:
    """Every example fits the CRD, and the operator's models."""
    found = registries(path)
    assert found, "no PrivateRegistry in it"
    validator = jsonschema.Draft202012Validator(closed(schema("privateregistries")["properties"]["spec"]))
    for each in found:
        validator.validate(each.get("spec", {}))
        Spec.model_validate(each.get("spec", {}))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_says_what_it_is_for(path: Path) -> None:
    """Every example begins with a sentence, and is named after what it shows."""
    assert path.read_text().startswith("# ")
    names = [each["metadata"]["name"] for each in registries(path)]
    assert names == ["team" if path.stem == "smallest" else path.stem]


def field_names(node: Object) -> Iterator[str]:
    for name, child in node.get("properties", {}).items():
        yield name
        if name not in ("tolerations", "affinity"):  # these are Kubernetes' own
            yield from field_names(child)
            yield from field_names(child.get("items", {}))


def test_one_example_shows_every_field() -> None:
    """Whoever looks for a field finds it in everything.yaml, at least in a comment."""
    text = (ROOT / "manifests/examples/everything.yaml").read_text()
    spec = schema("privateregistries")["properties"]["spec"]
    assert [name for name in field_names(spec) if not re.search(rf"\b{name}:", text)] == []


def test_the_image_in_the_examples_is_the_one_that_is_tested() -> None:
    """An example names no other version of the registry than the operator's default."""
    images = {
        each["spec"]["image"] for path in EXAMPLES for each in registries(path) if "image" in each.get("spec", {})
    }
    assert images == {DEFAULT_IMAGE}
