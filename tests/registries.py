"""PrivateRegistries for the tests, read as the operator reads them."""

from typing import Any

from private_registry.api.registry import PrivateRegistry, parse


def a_registry(
    spec: dict[str, Any] | None = None, *, name: str = "team", namespace: str = "registries"
) -> PrivateRegistry:
    """The registry of that name with this spec; without a spec, the smallest one."""
    metadata = {
        "name": name,
        "namespace": namespace,
        "uid": "5e1f0c1e-0000-4000-8000-000000000001",
        "generation": 1,
        "creationTimestamp": "2026-01-02T03:04:05Z",
    }
    return parse({"metadata": metadata, "spec": spec or {}})
