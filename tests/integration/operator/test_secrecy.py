"""Nothing that is secret leaves the Secrets: the operator sees all of it, and says none of it, whatever goes wrong."""

import base64
from collections.abc import Mapping
from dataclasses import replace

import pytest

from private_registry.api import names
from private_registry.api.conditions import Type
from private_registry.kube import kinds
from private_registry.pki import Certificate
from private_registry.registry.credentials import encoded
from tests.certificates import a_certificate
from tests.integration.operator.parts.cluster import Cluster
from tests.integration.operator.test_refused import bring
from tests.kubectl import Kubectl
from tests.secrecy import canary, objects, of_key, sung


@pytest.fixture
def waits() -> Mapping[str, float]:
    """An operator that sees Secrets in time for a test, and tells everything."""
    return {"controller.engine.RESYNC": 1.0, "controller.registries.credentials.OVERLAP": 3.0}


async def write(cluster: Cluster, name: str, **data: str) -> None:
    """What a person writes into a Secret."""
    await cluster.kube.merge(kinds.SECRET, cluster.namespace, name, {"data": encoded(data)})


async def test_no_secret_is_seen_anywhere_else(cluster: Cluster, kubectl: Kubectl) -> None:
    """Neither what people choose nor what is generated, in use, replaced and mistaken: not in the log, an event, a
    status, a ConfigMap or any other object, and not in the operator's arguments or environment.
    """
    cluster.operator.start("--log-level=debug", waits={"controller.engine.RESYNC": 1.0}, copied=False)
    chosen, user, uploads = canary("chosen"), canary("user"), canary("uploads")
    host = f"team.{cluster.namespace}.svc"
    good, other = a_certificate([host]), a_certificate([host])
    known = [chosen, user, uploads, of_key(good), of_key(other)]
    await bring(cluster, good)
    await cluster.add(kinds.SECRET, "ci", data=encoded({"username": "builder", "password": user}))
    spec = {"tls": {"mode": "Secret", "secretName": "brought"}, "auth": {"users": [{"secretName": "ci"}]}}
    registry = await cluster.ready(spec)
    generated = await cluster.login()
    assert generated
    known.append(generated[1])
    await write(cluster, names.configuration("team"), **{"http-secret": uploads})
    await write(cluster, names.credentials_secret("team"), username="me", password=chosen)
    http = replace(await cluster.http(), ca_bundle=good.ca_pem, server_name=host)

    async def known_to_the_registry() -> bool:
        return await replace(http, login=("me", chosen)).accepts()

    await cluster.until(known_to_the_registry, what="what was chosen is in force")

    # Mistakes: a key that does not fit, a key for a certificate, a user of which the registry could make nothing.
    await bring(cluster, Certificate(good.cert_pem, other.key_pem, good.ca_pem))
    await cluster.until_condition(Type.STALLED, "True", "CertificateInvalid")
    await bring(cluster, Certificate(other.key_pem, other.key_pem, other.key_pem))
    await cluster.until_condition(Type.STALLED, "True", "CertificateInvalid")
    await bring(cluster, good)
    await cluster.until_ready()
    for wrong in ({"username": f"a:{user}"}, {"username": "builder", "password": user * 9}):
        await write(cluster, "ci", **wrong)
        await cluster.until_condition(Type.STALLED, "True", "CredentialsInvalid")
    await write(cluster, "ci", username="builder", password=user)
    await cluster.until_ready()

    change = {"metadata": {"annotations": {names.ROTATE: "once"}}}
    await cluster.kube.merge(kinds.PRIVATE_REGISTRY, cluster.namespace, "team", change)

    async def replaced() -> bool:
        login = await cluster.login()
        return login is not None and login[1] != chosen

    await cluster.until(replaced, what="the credential is replaced")
    rotated = await cluster.login()
    assert rotated
    known.append(rotated[1])

    places = {**cluster.operator.shows(), **objects(kubectl)}
    assert f"PrivateRegistry {registry.key}" in places
    assert f"ConfigMap {names.AGENTS_NAMESPACE}/{names.entry(cluster.namespace, 'team')}" in places
    assert not sung(known, places)
    secret = await cluster.get(kinds.SECRET, names.credentials_secret("team"))
    stored = {key: base64.b64decode(value) for key, value in secret["data"].items()}
    assert sung([rotated[1]], stored), "the search finds what is there"
