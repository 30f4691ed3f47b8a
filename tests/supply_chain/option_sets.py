"""Everything that a cluster may be given, by the options that lead to it.

What an administrator applies is rendered as kubectl renders it; what the operator makes of a PrivateRegistry comes from
the functions by which it makes it.
"""

import itertools
from typing import Any

from tests.contract.documents import EXAMPLES, OPTIONS, Object, documents, installation, rendered
from tests.registries import SCENARIOS, a_registry, objects

TLS: dict[str, Object] = {
    "managed": {},
    "brought": {"tls": {"mode": "Secret", "secretName": "brought"}},
    "plain": {"tls": {"mode": "Disabled"}, "auth": {"mode": "None"}},
}
SERVICES: dict[str, Object] = {name: {"service": {"type": name}} for name in ("ClusterIP", "NodePort", "LoadBalancer")}
STORAGE: dict[str, Object] = {
    "own": {},
    "existing": {"storage": {"claimName": "shared"}},
    "one-pod": {"storage": {"accessMode": "ReadWriteOncePod"}},
}


def option_sets() -> dict[str, list[Object]]:
    """The objects of each set, by its kind and name. Raises NotBuiltError where there is no kubectl yet."""
    return {
        **{f"install/{options.replace(' ', '-')}": installation(options) for options in OPTIONS},
        "cleanup/plain": rendered("manifests/cleanup"),
        **{f"registry/{name}": objects(a_registry(spec)) for name, spec in registries().items()},
    }


def registries() -> dict[str, dict[str, Any]]:
    """The specs: every way of serving and storing, the scenarios of the unit tests, and the examples."""
    combined = {
        f"{tls}-{service.lower()}-{storage}": TLS[tls] | SERVICES[service] | STORAGE[storage]
        for tls, service, storage in itertools.product(TLS, SERVICES, STORAGE)
    }
    examples = {
        f"example-{path.stem}": each.get("spec", {})
        for path in EXAMPLES
        for each in documents(path.read_text())
        if each["kind"] == "PrivateRegistry"
    }
    return SCENARIOS | combined | examples
