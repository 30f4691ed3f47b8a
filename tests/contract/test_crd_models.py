"""The CRDs and the models say the same: what the API server lets in, the operator can read, and the reverse."""

from collections.abc import Iterator
from typing import Any

import pytest

from private_registry.api import nodetrust, registry
from private_registry.api.conditions import Status
from private_registry.api.model import Model
from tests.contract.documents import Object, schema

BOUNDS = ("minLength", "maxLength", "minItems", "maxItems", "maxProperties", "minimum", "maximum")
Facts = dict[tuple[str, str], Any]


def resolved(node: Object, definitions: Object) -> Object:
    """The schema behind a reference or an optional field of pydantic; of "integer or string", one schema for both."""
    if "$ref" in node:
        return resolved(definitions[node["$ref"].removeprefix("#/$defs/")], definitions)
    choices = [choice for choice in node.get("anyOf", []) if choice != {"type": "null"}]
    if len(choices) == 1:
        return resolved(choices[0], definitions)
    merged = {key: value for choice in choices for key, value in choice.items()}
    return {**node, **merged, "type": "integer or string"} if choices else node


def facts(node: Object, where: str = "", definitions: Object | None = None) -> Iterator[tuple[tuple[str, str], Any]]:
    """What a JSON schema says, place by place: types, choices, bounds, what is required.

    Understands the spelling of pydantic and that of a CRD. Says of an object that the schema leaves open that it is.
    """
    definitions = definitions or node.get("$defs", {})
    node = resolved(node, definitions)
    yield (where, "type"), node.get("type")
    for keyword in (*BOUNDS, "enum"):
        if keyword in node:
            yield (where, keyword), node[keyword]
    if "required" in node:
        yield (where, "required"), sorted(node["required"])
    for name, child in node.get("properties", {}).items():
        yield from facts(child, f"{where}.{name}", definitions)
    if "items" in node:
        yield from facts(node["items"], f"{where}[]", definitions)
    values = node.get("additionalProperties")
    if isinstance(values, dict):
        yield from facts(values, f"{where}{{}}", definitions)
    if node.get("type") == "object" and (values is True or not (values or "properties" in node)):
        yield (where, "open"), True


def without_what_is_below(open_places: list[str], of: Facts) -> Facts:
    """The facts but for those about what is inside places that one side leaves open on purpose."""
    return {
        (where, keyword): value
        for (where, keyword), value in of.items()
        if keyword != "open"
        and not any(where != place and where.startswith((f"{place}.", f"{place}[")) for place in open_places)
    }


def defaulted(node: Object, value: Any) -> Any:
    """`value` as the API server completes it from the defaults of a CRD."""
    if isinstance(value, dict):
        for name, child in node.get("properties", {}).items():
            if name not in value and "default" in child:
                value[name] = child["default"]
            if name in value:
                value[name] = defaulted(child, value[name])
    return value


def without_what_is_empty(value: Any) -> Any:
    """An absent field and an empty one mean the same, in the CRD and in the models."""
    if isinstance(value, dict):
        emptied = {key: without_what_is_empty(each) for key, each in value.items()}
        return {key: each for key, each in emptied.items() if each not in ({}, [], (), None)}
    return value


SPECS = [("privateregistries", registry.Spec), ("nodetrusts", nodetrust.NodeTrustSpec)]
STATUSES = [("privateregistries", registry.RegistryStatus), ("nodetrusts", nodetrust.NodeTrustStatus)]


@pytest.mark.parametrize(("plural", "model"), SPECS)
def test_a_spec_has_the_same_fields_types_choices_and_bounds(plural: str, model: type[Model]) -> None:
    """What the API server accepts as a spec is what the operator reads, to the last bound."""
    from_model = dict(facts(model.model_json_schema()))
    from_crd = dict(facts(schema(plural)["properties"]["spec"]))
    open_places = [where for (where, keyword) in from_model if keyword == "open"]
    assert without_what_is_below(open_places, from_crd) == without_what_is_below(open_places, from_model)


@pytest.mark.parametrize(("plural", "model"), SPECS)
def test_a_spec_has_the_same_defaults(plural: str, model: type[Model]) -> None:
    """What `kubectl get -o yaml` shows of an empty spec is what the operator works with."""
    shown = defaulted(schema(plural)["properties"]["spec"], {})
    assert without_what_is_empty(shown) == without_what_is_empty(model().model_dump(by_alias=True))


@pytest.mark.parametrize(("plural", "model"), STATUSES)
def test_a_status_has_the_same_fields_and_types(plural: str, model: type[Model]) -> None:
    """Whatever operator and agents report is stored: the API server drops no field of it.

    A status is made by us, so only what the models bound has to be bounded alike. The words in it are not enumerated in
    the CRD: an older one has to take the words of a newer operator.
    """
    from_model = dict(facts(model.model_json_schema(mode="serialization")))
    from_crd = dict(facts(schema(plural)["properties"]["status"]))
    for compared in (from_model, from_crd):
        for key in [key for key in compared if key[1] in ("required", "enum", "open")]:
            del compared[key]
    types = {key: value for key, value in from_crd.items() if key[1] == "type"}
    bounds = {key: value for key, value in from_crd.items() if key in from_model}
    assert {**types, **bounds} == from_model


def test_a_condition_has_the_statuses_of_kubernetes() -> None:
    """`kubectl wait --for=condition=Ready` needs exactly these three."""
    conditions = schema("privateregistries")["properties"]["status"]["properties"]["conditions"]
    assert conditions["items"]["properties"]["status"]["enum"] == list(Status.__args__)  # type: ignore[attr-defined]


def unbounded(node: Object, where: str) -> Iterator[str]:
    """The places of a CRD's schema that may grow without limit."""
    bounds = {"string": "maxLength", "array": "maxItems"}
    if node.get("x-kubernetes-int-or-string"):
        bounds[""] = "maxLength"
    needed = bounds.get(node.get("type", ""))
    if needed and not ({needed, "enum", "format"} & node.keys()):
        yield where
    if "additionalProperties" in node:
        if "maxProperties" not in node:
            yield where
        yield from unbounded(node["additionalProperties"], f"{where}{{}}")
    for name, child in node.get("properties", {}).items():
        yield from unbounded(child, f"{where}.{name}")
    if "items" in node:
        yield from unbounded(node["items"], f"{where}[]")


@pytest.mark.parametrize("plural", ["privateregistries", "nodetrusts"])
def test_everything_in_a_crd_is_bounded(plural: str) -> None:
    """Nobody can make the API server store more than what a registry needs."""
    properties = schema(plural)["properties"]
    assert [*unbounded(properties["spec"], "spec"), *unbounded(properties["status"], "status")] == []


def undescribed(node: Object, where: str) -> Iterator[str]:
    """The fields that `kubectl explain` has no word about, down to two levels below spec and status."""
    for name, child in node.get("properties", {}).items():
        if "description" not in child:
            yield f"{where}.{name}"
        if where.count(".") < 1:
            yield from undescribed(child, f"{where}.{name}")


@pytest.mark.parametrize("plural", ["privateregistries", "nodetrusts"])
def test_every_field_is_explained(plural: str) -> None:
    """`kubectl explain` answers for every field that a person may write."""
    properties = schema(plural)["properties"]
    assert [*undescribed(properties["spec"], "spec"), *undescribed(properties["status"], "status")] == []
