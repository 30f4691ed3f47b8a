"""One registry on a real cluster, and what a person does with it: kubectl, docker push, curl through a port-forward."""

import base64
import json
import shutil
import ssl
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.kubectl import Kubectl
from tests.waiting import eventually

ACCEPTED = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"

Object = dict[str, Any]


@dataclass(frozen=True)
class Response:
    """What came back, whatever its status."""

    status: int
    body: str
    headers: Mapping[str, str]


@dataclass(frozen=True)
class LiveRegistry:
    """The PrivateRegistry `namespace/name`; every method raises AssertionError with the first thing that is not so."""

    kubectl: Kubectl
    namespace: str
    name: str = "team"

    @property
    def host(self) -> str:
        return f"{self.name}.{self.namespace}.svc:5000"

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def at(self) -> str:
        """The argument of kubectl for its namespace."""
        return f"--namespace={self.namespace}"

    def apply(self, spec: Mapping[str, Any] | None = None) -> str:
        """Ask for it, and for its namespace; without a spec the smallest one."""
        registry: Object = {
            "apiVersion": "privateregistry.dev/v1alpha1",
            "kind": "PrivateRegistry",
            "metadata": {"name": self.name, "namespace": self.namespace},
            **({"spec": spec} if spec else {}),
        }
        namespace: Object = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}}
        objects = {"apiVersion": "v1", "kind": "List", "items": [namespace, registry]}
        return self.kubectl.apply(json.dumps(objects))

    def patch(self, spec: Mapping[str, Any]) -> None:
        """Change some fields of the spec; None takes one out."""
        change = json.dumps({"spec": spec})
        self.kubectl("patch", "privateregistry", self.name, self.at, "--type=merge", f"--patch={change}")

    def get(self) -> Object:
        return self.kubectl.get("privateregistry", self.name, self.at)

    def conditions(self) -> dict[str, Object]:
        """By type."""
        return {each["type"]: each for each in (self.get().get("status") or {}).get("conditions") or []}

    def wait_ready(self, *, nodes: int, within: float = 120) -> None:
        """Wait until it is ready, as it was asked for last, and exactly so many nodes trust it."""

        def ready() -> bool:
            found = self.get()
            status = found.get("status") or {}
            conditions = {each["type"]: each for each in status.get("conditions") or []}
            summary = (status.get("nodes") or {}).get("summary")
            seen = {kind: (each["status"], each["message"]) for kind, each in conditions.items()}
            assert status.get("observedGeneration") == found["metadata"]["generation"], seen
            is_ready = conditions.get("Ready", {}).get("status") == "True"
            assert (is_ready, summary) == (True, f"{nodes}/{nodes}"), (summary, seen)
            return True

        eventually(ready, within=within, every=0.25, what=f"{self.key} is ready on {nodes} nodes")

    def delete(self, *, within: int = 120) -> str:
        return self.kubectl("delete", "privateregistry", self.name, self.at, f"--timeout={within}s")

    def template(self) -> str:
        """What its pods are made from: another one of these is another rollout."""
        path = r"jsonpath={.metadata.annotations.privateregistry\.dev/template}"
        return self.kubectl("get", "deployment", self.name, self.at, f"--output={path}")

    def wait_rolled_out(self, *, after: str) -> None:
        """Wait until only pods of another template than this one serve."""
        eventually(lambda: self.template() != after, within=30, what=f"a rollout of {self.key} begins")
        self.kubectl("rollout", "status", f"deployment/{self.name}", self.at, "--timeout=120s")

    def pods(self) -> list[Object]:
        """The pods that serve it or did so a moment ago."""
        selector = f"app.kubernetes.io/component=registry,app.kubernetes.io/instance={self.name}"
        return self.kubectl.items("pods", self.at, f"--selector={selector}")

    def replace_pod(self) -> None:
        """Delete its pod and wait until another one serves and the old one is gone."""
        old = {pod["metadata"]["uid"] for pod in self.pods()}
        names = [pod["metadata"]["name"] for pod in self.pods()]
        self.kubectl("delete", "pods", *names, self.at, "--wait=false")

        def replaced() -> bool:
            pods = self.pods()
            assert not old & {pod["metadata"]["uid"] for pod in pods}, "the old pod is still there"
            return any(is_ready(pod) for pod in pods)

        eventually(replaced, within=120, every=0.5, what=f"a new pod of {self.key} is ready")

    def ca(self) -> str:
        """The CA in the ConfigMap beside it, PEM; empty where it serves plain HTTP."""
        found = self.kubectl("get", "configmap", f"{self.name}-ca", self.at, "--ignore-not-found", "--output=json")
        return str(json.loads(found)["data"]["ca.crt"]) if found else ""

    def login(self) -> tuple[str, str] | None:
        """User name and password in the Secret that its status names; None where it asks for none."""
        found = self._credentials()
        return (found["username"], found["password"]) if found else None

    def docker_config(self, host: str = "") -> str:
        """What Docker's config.json is to be: the same Secret's own, or one for another way to it.

        Empty where it asks for no credential.
        """
        found = self._credentials()
        if not host or not found:
            return found.get(".dockerconfigjson", "")
        auth = base64.b64encode(f"{found['username']}:{found['password']}".encode()).decode()
        return json.dumps({"auths": {host: {"auth": auth}}})

    def _credentials(self) -> dict[str, str]:
        name = (self.get().get("status") or {}).get("credentialsSecretName")
        found = self.kubectl.get("secret", name, self.at)["data"] if name else {}
        return {key: base64.b64decode(value).decode() for key, value in found.items()}

    def ask(self, method: str, path: str, *, anonymously: bool = False, port: int = 5000) -> Response:
        """One request through a port-forward, over TLS if it has a CA, and with its credential if it has one."""
        ca, login = self.ca(), None if anonymously else self.login()
        with self.kubectl.port_forward(self.namespace, f"service/{self.name}", port) as forward:
            url = f"http{'s' if ca else ''}://localhost:{forward.port}{path}"
            return request(url, method=method, ca=ca, login=login)

    def digest(self, repository: str, tag: str) -> str:
        """What a tag stands for; empty where there is none."""
        answer = self.ask("HEAD", f"/v2/{repository}/manifests/{tag}")
        assert answer.status in (200, 404), answer
        return answer.headers["Docker-Content-Digest"] if answer.status == 200 else ""

    def push(self, image: str, reference: str) -> str:
        """`docker push` an image that Docker has, as `repository:tag`, through a port-forward.

        Again when the port-forward has ended in the middle: Docker would go on trying there.
        """

        def pushed() -> str:
            with (
                tempfile.TemporaryDirectory() as home,
                self.kubectl.port_forward(self.namespace, f"service/{self.name}", 5000) as forward,
            ):
                host = f"localhost:{forward.port}"
                (Path(home) / "config.json").write_text(self.docker_config(host) or "{}")
                _docker("tag", image, f"{host}/{reference}")
                try:
                    push = ("--config", home, "push", f"{host}/{reference}")
                    return _docker(*push, as_long_as=lambda: forward.works).splitlines()[-1]
                finally:
                    _docker("rmi", f"{host}/{reference}")

        return eventually(pushed, within=60, every=1, what=f"{image} is pushed to {self.key}")

    def run(self, reference: str, nodes: Iterable[str]) -> list[str]:
        """Run `repository:tag` of it in a pod on each node, by its private name; what the pods said."""
        names = {f"hello-{node}": node for node in nodes}
        self.kubectl("delete", "pods", *names, self.at, "--ignore-not-found")
        pods = [self._pod(name, node, reference) for name, node in names.items()]
        self.kubectl.apply(json.dumps({"apiVersion": "v1", "kind": "List", "items": pods}))
        said = []
        for name in names:

            def succeeded(name: str = name) -> bool:
                status = self.kubectl.get("pod", name, self.at)["status"]
                assert status["phase"] == "Succeeded", status
                return True

            eventually(succeeded, within=90, every=0.5, what=f"the pod {name} ran")
            said.append(self.kubectl("logs", name, self.at).strip())
        self.kubectl("delete", "pods", *names, self.at, "--wait=false")
        return said

    def _pod(self, name: str, node: str, reference: str) -> Object:
        container = {
            "name": "hello",
            "image": f"{self.host}/{reference}",
            "imagePullPolicy": "Always",
            "command": ["echo", f"hello from {node}"],
        }
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {
                "nodeName": node,
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": 0,
                # As one would run anything on a node whatever its taints: a control plane pulls too.
                "tolerations": [{"operator": "Exists"}],
                "containers": [container],
            },
        }


def is_ready(pod: Object) -> bool:
    conditions = pod["status"].get("conditions") or []
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def request(url: str, *, method: str = "GET", ca: str = "", login: tuple[str, str] | None = None) -> Response:
    """One HTTP request; over TLS, trusting this CA and no other."""
    headers = {"Accept": ACCEPTED}
    if login:
        headers["Authorization"] = f"Basic {base64.b64encode(':'.join(login).encode()).decode()}"
    asked = urllib.request.Request(url, method=method, headers=headers)
    context = ssl.create_default_context(cadata=ca) if ca else None
    try:
        with urllib.request.urlopen(asked, timeout=30, context=context) as answer:
            return Response(answer.status, answer.read().decode().strip(), dict(answer.headers))
    except urllib.error.HTTPError as error:
        with error:
            return Response(error.code, error.read().decode().strip(), dict(error.headers))


def _docker(*arguments: str, as_long_as: Callable[[], bool] = lambda: True) -> str:
    """Run it to its end, or until something it depends on has ended before."""
    assert shutil.which("docker"), "there is no docker here to push with"
    deadline = time.monotonic() + 120
    with subprocess.Popen(
        ["docker", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as running:
        while True:
            try:
                said, _ = running.communicate(timeout=0.2)
                break
            except subprocess.TimeoutExpired:
                if not as_long_as() or time.monotonic() > deadline:
                    running.terminate()
    assert running.returncode == 0, f"docker {' '.join(arguments)}: {said}"
    return said.strip()
