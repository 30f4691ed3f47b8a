"""How a spec names other objects, and selects them by labels as Kubernetes does. No I/O."""

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from private_registry.api.model import Model

_OBJECT_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


def _object_name(text: str) -> str:
    """Names become parts of URLs, and the operator may read more than who writes them."""
    if not _OBJECT_NAME.fullmatch(text):
        raise ValueError(f"{text!r} is no name of an object")
    return text


ObjectName = Annotated[str, Field(min_length=1, max_length=253), AfterValidator(_object_name)]
NamespaceName = Annotated[str, Field(min_length=1, max_length=63), AfterValidator(_object_name)]

LabelKey = Annotated[str, Field(min_length=1, max_length=317)]
LabelValue = Annotated[str, Field(max_length=63)]


class Requirement(Model):
    """One row of matchExpressions."""

    key: LabelKey
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: tuple[LabelValue, ...] = Field(default=(), max_length=64)

    def matches(self, labels: Mapping[str, str]) -> bool:
        match self.operator:
            case "In":
                return labels.get(self.key) in self.values
            case "NotIn":
                # As Kubernetes means it: what has no such label has none of these values either.
                return labels.get(self.key) not in self.values
            case "Exists":
                return self.key in labels
            case "DoesNotExist":
                return self.key not in labels


class LabelSelector(Model):
    """All of it has to match. An empty one matches everything."""

    match_labels: dict[str, LabelValue] = Field(default_factory=dict, max_length=16)
    match_expressions: tuple[Requirement, ...] = Field(default=(), max_length=16)

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether something with these labels is selected."""
        return all(labels.get(key) == value for key, value in self.match_labels.items()) and all(
            requirement.matches(labels) for requirement in self.match_expressions
        )
