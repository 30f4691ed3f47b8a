"""A container without a container runtime: a program in a root directory, as the user that its pod names.

The root directory belongs to root: as in the pod, the program can write to its volumes alone.
"""

import base64
import os
import ssl
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp

from private_registry.kube import kinds
from private_registry.kube.kinds import Kind
from private_registry.registry.deployment import SPACE_CONTAINER

Content = Mapping[str, Mapping[str, bytes]]
"""What ConfigMaps and Secrets hold, by their name and key."""

# The program is opened before the root changes, so it need not be in it. The signal is asked for last, because a change
# of user forgets it: no container outlives the tests.
_LAUNCH = """
import ctypes, os, signal, sys
prctl, (_, program, root, user, *command) = ctypes.CDLL(None).prctl, sys.argv
opened = os.open(program, os.O_RDONLY)
os.chroot(root)
os.chdir("/")
os.setgroups([])
os.setgid(int(user))
os.setuid(int(user))
prctl(1, signal.SIGKILL)
os.execve(opened, command, os.environ)
"""


def command_line(pod: dict[str, Any], container: dict[str, Any], program: Path, root: Path) -> list[str | Path]:
    """How a container of a pod spec is started in `root`; `program` is what its image would hold.

    One that names no command is of our own image. Its program is not in `root`: it is told where its files are from
    outside.
    """
    if "command" not in container:
        return [sys.executable, "-m", "private_registry", *(_from_outside(each, root) for each in container["args"])]
    user = pod["securityContext"]["runAsUser"]
    return [*(sys.executable, "-c", _LAUNCH), *(program, root, str(user)), *container["command"]]


def _from_outside(argument: str, root: Path) -> str:
    option, equals, value = argument.partition("=")
    return f"{option}={root}{value}" if equals and value.startswith("/") else argument


def content(obj: dict[str, Any]) -> dict[str, bytes]:
    """What the keys of a ConfigMap or Secret hold."""
    if obj["kind"] == "Secret":
        return {key: base64.b64decode(value) for key, value in obj["data"].items()}
    return {key: value.encode() for key, value in obj["data"].items()}


def project(pod: dict[str, Any], root: Path, contents: Content) -> None:
    """Write a pod spec's projected volumes below `root` as the kubelet does: root's, readable to the pod's group.

    All containers find them in the same root. What is there already is replaced in one piece.
    """
    mounts = [mount for container in pod["containers"] for mount in container.get("volumeMounts") or []]
    places = {mount["name"]: root / mount["mountPath"].lstrip("/") for mount in mounts}
    for volume in pod.get("volumes") or []:
        for source in (volume.get("projected") or {}).get("sources") or []:
            (origin,) = (each for kind, each in source.items() if kind in {"configMap", "secret"})
            for item in origin["items"]:
                file = places[volume["name"]] / item["path"]
                file.parent.mkdir(parents=True, exist_ok=True)
                aside = file.with_name(f"..{file.name}")
                aside.write_bytes(contents[origin["name"]][item["key"]])
                aside.chmod(volume["projected"]["defaultMode"])
                os.chown(aside, 0, pod["securityContext"]["fsGroup"])
                aside.rename(file)


def environment(container: dict[str, Any]) -> dict[str, str]:
    """The variables of a container; none is from a Secret, because who sees the process reads its environment."""
    return {each["name"]: each["value"] for each in container.get("env") or [] if "value" in each}


def listening_at(container: dict[str, Any], address: str, *ports: int) -> dict[str, str]:
    """The variables that have a container listen at one address only; `ports` in place of its own, in their order."""
    if container["name"] == SPACE_CONTAINER:
        return {"POD_IP": address, "PYTHONPATH": str(Path(__file__).parents[2] / "operator")}
    own = ports or [port["containerPort"] for port in container["ports"]]
    serving, debug = (f"{address}:{port}" for port in own)
    return {"REGISTRY_HTTP_ADDR": serving, "REGISTRY_HTTP_DEBUG_ADDR": debug}


def mounted(pod: dict[str, Any]) -> list[tuple[Kind, str]]:
    """The ConfigMaps and Secrets of a pod's volumes, by kind and name."""
    return [
        (kinds.CONFIG_MAP if "configMap" in source else kinds.SECRET, next(iter(source.values()))["name"])
        for volume in pod["spec"].get("volumes") or []
        for source in (volume.get("projected") or {}).get("sources") or []
    ]


def claim(pod: dict[str, Any]) -> str | None:
    """The claim that a pod mounts, if any."""
    claims = [
        each["persistentVolumeClaim"] for each in pod["spec"].get("volumes") or [] if "persistentVolumeClaim" in each
    ]
    return claims[0]["claimName"] if claims else None


def readiness_url(container: dict[str, Any], address: str) -> str:
    """What the kubelet asks a container for; empty of one that has no probe."""
    if not (probe := (container.get("readinessProbe") or {}).get("httpGet")):
        return ""
    (port,) = (each["containerPort"] for each in container["ports"] if each["name"] == probe["port"])
    return f"{probe['scheme'].lower()}://{address}:{port}{probe['path']}"


async def is_ready(url: str) -> bool:
    """As the kubelet asks: it verifies no certificate."""
    connector = aiohttp.TCPConnector(ssl=ssl._create_unverified_context())
    async with aiohttp.ClientSession(connector=connector) as session:
        try:
            async with session.get(url) as answer:
                return answer.status < 400
        except aiohttp.ClientConnectionError as error:
            raise OSError(error) from error
