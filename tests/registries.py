"""PrivateRegistries for the tests, read as the operator reads them, and all that they are made of."""

from typing import Any

from private_registry.api.registry import PrivateRegistry, parse
from private_registry.pki import Certificate
from private_registry.registry.certificates import ca_config_map, certificate_secret
from private_registry.registry.claim import claim
from private_registry.registry.configuration import configuration
from private_registry.registry.credentials import Credential, Htpasswd, credentials_secret, htpasswd_secret, pull_secret
from private_registry.registry.deployment import deployment
from private_registry.registry.image_proof import image_proof_pod
from private_registry.registry.jobs import collection_job
from private_registry.registry.service import service

IMAGE = "docker.io/library/registry:3.1.1"
OPERATOR_IMAGE = "registry.example.com/private-registry-operator:0.1.0"
FINGERPRINT = "5f"

SCENARIOS: dict[str, dict[str, Any]] = {
    "smallest": {},
    "everything": {
        "storage": {
            "deleteEnabled": False,
            "size": "1Ti",
            "storageClassName": "fast",
            "accessMode": "ReadWriteOncePod",
            "reclaimPolicy": "Delete",
        },
        "service": {"type": "LoadBalancer"},
        "nodeTrust": {"nodeSelector": {"pool": "build"}, "additionalHosts": ["registry.example.com"]},
        "image": "registry.example.com/distribution:3.2.0",
        "resources": {"requests": {"cpu": 1, "memory": "1Gi"}, "limits": {"cpu": 2, "memory": "2Gi"}},
        "scheduling": {
            "nodeSelector": {"disk": "ssd"},
            "tolerations": [{"key": "dedicated", "operator": "Equal", "value": "registry", "effect": "NoSchedule"}],
            "affinity": {
                "nodeAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": {
                        "nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": "Exists"}]}]
                    }
                },
                "podAffinity": {
                    "preferredDuringSchedulingIgnoredDuringExecution": [
                        {
                            "weight": 1,
                            "podAffinityTerm": {
                                "labelSelector": {"matchLabels": {"app": "builder"}},
                                "topologyKey": "topology.kubernetes.io/zone",
                            },
                        }
                    ]
                },
            },
            "priorityClassName": "system-cluster-critical",
            "imagePullSecrets": [{"name": "mirror"}],
        },
    },
    "claim-of-someone-else": {"storage": {"claimName": "shared"}},
    "open": {"auth": {"mode": "None"}},
    "nothing-without-credentials": {"auth": {"anonymousPull": False, "users": [{"secretName": "ci"}]}},
    "pull-secret": {"auth": {"anonymousPull": False, "pullSecret": {"namespaces": ["apps"]}}},
    "plain-http": {"tls": {"mode": "Disabled"}, "auth": {"mode": "None"}, "service": {"type": "NodePort"}},
    "brought-certificate": {"tls": {"mode": "Secret", "secretName": "brought"}},
}


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


def objects(registry: PrivateRegistry) -> list[dict[str, Any]]:
    """All objects that the registry may ever be made of."""
    image = registry.spec.image or IMAGE
    made = [
        service(registry, pulls=registry.has_pulls),
        claim(registry),
        configuration(registry, "a secret"),
        deployment(
            registry,
            image=image,
            certificate_hash=FINGERPRINT if registry.certificate_secret else "",
            strategy="RollingUpdate",
            space_image="private-registry-operator:0.1.0",
        ),
        image_proof_pod(registry, image=image, node_name="worker"),
        collection_job(registry, image=OPERATOR_IMAGE, asked="now", dry_run=False, node="worker"),
    ]
    if registry.certificate_secret:
        made.append(certificate_secret(registry, Certificate("a certificate", "a key", "a CA")))
        made.append(ca_config_map(registry, "a CA"))
    if registry.authenticates:
        made.append(credentials_secret(registry, Credential("push-0", "a password"), registry.hosts_in_pods))
        push = {"push-0": "a hash", "ci": "another"}
        pull = {**push, "pull-0": "a third"} if registry.has_pull_user else None
        made.append(htpasswd_secret(registry, Htpasswd(push, pull), {}))
    if registry.has_pull_user:
        made.append(pull_secret(registry, Credential("pull-0", "a password"), registry.hosts_in_pods))
    return [obj for obj in made if obj]
