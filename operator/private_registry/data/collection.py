"""What a collection of garbage found and did, as it is passed from the Job to the status. Pure."""

from pydantic import Field, ValidationError

from private_registry.api.model import Written


class Outcome(Written):
    """Of one run; of a dry run, what another would have done."""

    blobs: int = 0
    bytes: int = 0
    """What the blobs that went took of the volume."""
    manifests: int = 0
    """Untagged ones that went."""
    repositories: int = 0
    """Empty ones that left the catalog."""
    error: str = Field(default="", max_length=3000)
    """Why nothing was deleted, or not everything; empty: it was."""


def read(text: str) -> Outcome | None:
    """The outcome in a container's termination message; None where there is none."""
    try:
        return Outcome.model_validate_json(text)
    except ValidationError:
        return None
