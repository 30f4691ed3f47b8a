"""Somebody's admission webhook, which changes what the operator writes on its way in."""

import base64
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from private_registry.kube.client import Kube
from private_registry.kube.kinds import Kind
from tests.certificates import a_certificate
from tests.cluster.processes.process import free_port

HOOKS: Final = Kind(
    "admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations", "MutatingWebhookConfiguration"
)
HISTORY: Final = 7
"""How many old ReplicaSets every Deployment keeps, if you ask this webhook."""


@asynccontextmanager
async def a_webhook(kube: Kube, namespace: str, directory: Path) -> AsyncIterator[list[str]]:
    """Set revisionHistoryLimit of every Deployment of the namespace; gives the names of those it was asked about."""
    certificate = a_certificate(["127.0.0.1"])
    pair = directory / "webhook.pem"
    pair.write_text(certificate.cert_pem + certificate.key_pem)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair)
    asked: list[str] = []

    async def review(request: web.Request) -> web.Response:
        question = (await request.json())["request"]
        asked.append(question["name"])
        patch = json.dumps([{"op": "add", "path": "/spec/revisionHistoryLimit", "value": HISTORY}])
        answer = {"uid": question["uid"], "allowed": True, "patchType": "JSONPatch", "patch": _base64(patch)}
        return web.json_response({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": answer})

    app, port = web.Application(), free_port()
    app.router.add_post("/", review)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=context).start()
    url = f"https://127.0.0.1:{port}/"
    await kube._call("POST", HOOKS.path(), body=_configuration(namespace, url, certificate.ca_pem))
    try:
        yield asked
    finally:
        await kube._call("DELETE", HOOKS.path(None, namespace))
        await runner.cleanup()


def _configuration(namespace: str, url: str, ca_pem: str) -> dict[str, Any]:
    deployments = {"apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"]}
    hook = {
        "name": "history.example.com",
        "clientConfig": {"url": url, "caBundle": _base64(ca_pem)},
        "rules": [{**deployments, "operations": ["CREATE", "UPDATE"]}],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }
    about = {"name": namespace}
    return {"apiVersion": HOOKS.api_version, "kind": HOOKS.kind, "metadata": about, "webhooks": [hook]}


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
