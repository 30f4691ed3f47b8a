"""A canary in every secret, on a real cluster: it is nowhere but in the Secrets and where the kubelet puts them."""

import base64
import json

from private_registry.api import names
from tests.certificates import a_certificate
from tests.e2e import nodes
from tests.e2e.place import Place
from tests.live_registry import LiveRegistry
from tests.secrecy import canary, forms, objects, of_key, sung
from tests.waiting import eventually

# Patterns come on standard input: as arguments they would be found in those of the search. The kubelet's own volumes
# are where a Secret belongs; /var/log/pods has what every container has ever said.
_FILES = "grep -rlaF -f - /etc /var/lib/private-registry* /var/log/pods 2>/dev/null || true"
_PROCESSES = "grep -laF -f - /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null || true"


def found(place: Place, script: str, known: list[str]) -> list[str]:
    """Paths on nodes at which one of these secrets stands."""
    patterns = b"\n".join(form for secret in known for form in forms(secret)).decode() + "\n"
    return [
        f"{node}: {path}"
        for node in place.cluster.nodes
        for path in place.cluster.exec_on_node(node, "sh", "-c", script, stdin=patterns).split()
    ]


def write(place: Place, name: str, kind: str = "Opaque", **data: str) -> None:
    """A Secret as a person writes it, without what `kubectl apply` would keep of it."""
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    about = {"name": name, "namespace": place.namespace}
    secret = json.dumps({"apiVersion": "v1", "kind": "Secret", "metadata": about, "type": kind, "data": encoded})
    place.kubectl("create", "--filename=-", stdin=secret)


def change(place: Place, name: str, **data: str) -> None:
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    at = f"--namespace={place.namespace}"
    place.kubectl("patch", "secret", name, at, "--type=merge", f"--patch={json.dumps({'data': encoded})}")


def stalled(registry: LiveRegistry) -> str:
    """Why it is; empty when it is not."""
    return str(registry.conditions().get("Stalled", {}).get("reason", ""))


def test_no_secret_leaves_the_secrets(place: Place) -> None:
    """In use, mistaken and replaced: no log, event, status, argument, environment, ConfigMap or node file has it."""
    chosen, user, uploads = canary("chosen"), canary("user"), canary("uploads")
    certificate = a_certificate([f"team.{place.namespace}.svc", "localhost"])
    ask = {"tls": {"mode": "Secret", "secretName": "brought"}, "auth": {"users": [{"secretName": "ci"}]}}
    registry = place.ask_for(spec=ask)  # and its namespace; it waits for the Secrets
    parts = {"tls.crt": certificate.cert_pem, "tls.key": certificate.key_pem, "ca.crt": certificate.ca_pem}
    write(place, "brought", "kubernetes.io/tls", **parts)
    write(place, "ci", username="builder", password=user)
    registry.wait_ready(nodes=len(place.cluster.nodes), within=240)
    generated = registry.login()
    assert generated
    change(place, names.configuration(registry.name), **{"http-secret": uploads})
    change(place, names.credentials_secret(registry.name), username="me", password=chosen)
    registry.replace_pod()
    eventually(
        lambda: registry.ask("GET", "/v2/").status == 200, within=240, every=1, what="what was chosen is in force"
    )
    (image,) = place.push(registry, 1)
    nodes.pull_on_all(place.cluster, image)

    change(place, "ci", username=f"a:{user}")
    eventually(lambda: stalled(registry) == "CredentialsInvalid", within=120, every=1, what="the mistake is named")
    change(place, "ci", username="builder")
    place.kubectl("annotate", "privateregistry", registry.name, registry.at, f"{names.ROTATE}=once")
    eventually(lambda: registry.login() not in (None, ("me", chosen)), within=240, every=1, what="it is replaced")
    replaced = registry.login()
    assert replaced

    known = [chosen, user, uploads, of_key(certificate), generated[1], replaced[1]]
    assert not sung(known, objects(place.kubectl))
    assert not found(place, _FILES, known)
    assert not found(place, _PROCESSES, known)
    # A search that finds nothing at all proves nothing.
    assert found(place, _PROCESSES, ["REGISTRY_STORAGE_DELETE_ENABLED"]), "the registry's process runs there"
    assert found(place, _FILES, [registry.key]), "nodes know the registry"
