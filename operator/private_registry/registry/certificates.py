"""Where a registry's certificate is kept for its pod, and its CA for people and build pods, here and elsewhere."""

import base64
from typing import Any

from private_registry.api import names
from private_registry.api.registry import PrivateRegistry
from private_registry.pki import Certificate
from private_registry.registry.metadata import copy_metadata, metadata

CA_KEY = "ca.crt"


def certificate_secret(registry: PrivateRegistry, certificate: Certificate) -> dict[str, Any]:
    """The Secret that the pod mounts: a certificate that the operator issued, or a checked copy of a brought one.

    It has no ca.crt where the node's own roots vouch for the certificate.
    """
    parts = {"tls.crt": certificate.cert_pem, "tls.key": certificate.key_pem, CA_KEY: certificate.ca_pem}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata(registry, names.certificate_secret(registry.name)),
        "type": "kubernetes.io/tls",
        "data": {key: base64.b64encode(pem.encode()).decode() for key, pem in parts.items() if pem},
    }


def ca_config_map(registry: PrivateRegistry, ca_bundle: str) -> dict[str, Any]:
    """The ConfigMap with what a client in the registry's namespace has to trust."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(registry, names.ca_config_map(registry.name)),
        "data": {CA_KEY: ca_bundle},
    }


def ca_copy(registry: PrivateRegistry, namespace: str, ca_bundle: str) -> dict[str, Any]:
    """The ConfigMap with the same for the clients in another namespace."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": copy_metadata(registry, names.ca_copy(registry.namespace, registry.name), namespace),
        "data": {CA_KEY: ca_bundle},
    }
