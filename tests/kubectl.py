"""kubectl as a person uses it: for the story, which shows the commands, and for the end-to-end tests.

The only place that starts kubectl. A command that fails raises with what it said.
"""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

AGENTS = "private-registry-nodes"
OPERATOR = "private-registry-system"


class KubectlError(AssertionError):
    """kubectl ended with an error; the message is the command and what it said."""


@dataclass(frozen=True)
class Forward:
    """A port-forward: its local port, and whether it still is one.

    kubectl ends it with the first connection that is reset, which on a busy machine any connection that the other side
    closes may be (kubernetes/kubernetes#74551).
    """

    port: int
    process: "subprocess.Popen[str]"

    @property
    def works(self) -> bool:
        return self.process.poll() is None


@dataclass(frozen=True)
class Kubectl:
    """One kubectl for one cluster."""

    program: str
    kubeconfig: Path | None = None
    context: str = ""

    def environment(self) -> dict[str, str]:
        """The variables by which this kubectl, and the scripts of manifests/, find the cluster."""
        chosen = {"KUBECTL": self.program, "CONTEXT": self.context}
        return {**os.environ, **chosen, **({"KUBECONFIG": str(self.kubeconfig)} if self.kubeconfig else {})}

    def __call__(self, *arguments: str, stdin: str = "", within: float = 180) -> str:
        """Run a command; return what it printed. Raises KubectlError."""
        done = subprocess.run(
            self._command(*arguments),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=within,
            env=self.environment(),
            check=False,
        )
        if done.returncode:
            raise KubectlError(f"kubectl {' '.join(arguments)}: {(done.stderr or done.stdout).strip()}")
        return done.stdout

    def get(self, *arguments: str) -> dict[str, Any]:
        """An object, or a list of them."""
        found: dict[str, Any] = json.loads(self("get", *arguments, "--output=json"))
        return found

    def items(self, *arguments: str) -> list[dict[str, Any]]:
        """The objects of a list."""
        return list(self.get(*arguments)["items"])

    def apply(self, text: str) -> str:
        return self("apply", "--filename=-", stdin=text)

    def agents(self) -> dict[str, str]:
        """The agents' pods, by node."""
        pods = self.items(
            "pods", f"--namespace={AGENTS}", "--selector=app.kubernetes.io/component in (agent, managing-agent)"
        )
        return {pod["spec"]["nodeName"]: pod["metadata"]["name"] for pod in pods}

    def linux_nodes(self) -> list[str]:
        found = self.items("nodes", "--selector=kubernetes.io/os=linux")
        return sorted(node["metadata"]["name"] for node in found)

    @contextmanager
    def watching(self, to: Path, *arguments: str) -> Iterator[None]:
        """Have `kubectl get --watch` write each state of these objects into a file, one after the other."""
        with to.open("w") as file:
            command = self._command("get", *arguments, "--watch")
            with subprocess.Popen(command, stdout=file, env=self.environment()) as process:
                try:
                    yield
                finally:
                    process.terminate()

    @contextmanager
    def port_forward(
        self, namespace: str, target: str, port: int, *, address: str = "127.0.0.1"
    ) -> Iterator["Forward"]:
        """Forward a local port, at one of this machine's addresses, to a port of a Service or pod."""
        where = (f"--namespace={namespace}", f"--address={address}")
        command = self._command("port-forward", *where, target, f":{port}")
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=self.environment()
        ) as process:
            try:
                yield Forward(_forwarded(process), process)
            finally:
                process.terminate()

    def _command(self, *arguments: str) -> list[str]:
        return [self.program, *([f"--context={self.context}"] if self.context else []), *arguments]


def _forwarded(process: "subprocess.Popen[str]") -> int:
    assert process.stdout
    said = []
    for line in process.stdout:
        said.append(line)
        if found := re.match(r"Forwarding from [0-9.]+:(\d+)", line):
            return int(found.group(1))
    raise KubectlError(f"port-forward ended: {''.join(said)}")
