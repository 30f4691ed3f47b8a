"""What an administrator sets once for the operator; the command line fills it."""

from dataclasses import dataclass

from private_registry.api import names
from private_registry.api.hosts import Rules

DEFAULT_IMAGE = "docker.io/library/registry:3.1.1"
"""Not older: until 3.1.1 distribution 3 let a tag be deleted although deletion was off (CVE-2026-41888)."""


@dataclass(frozen=True)
class Settings:
    rules: Rules
    namespace: str = names.OPERATOR_NAMESPACE
    agents_namespace: str = names.AGENTS_NAMESPACE
    registry_image: str = DEFAULT_IMAGE
    image: str = ""
    """Of the operator itself, for what runs beside a registry's data; empty: not known, and nothing of it runs."""
    startup_taint: str = ""
    """Key of the taint that is taken from a node once it is proven; empty: nodes are not written to."""
    registries_per_namespace: int = 32
    """The oldest of a namespace, so that none fills every node: each entry may have 64 KiB, and each row 1 KiB."""
