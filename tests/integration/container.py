"""A container without a container runtime: a program in a root directory, as the user that its pod names.

The root directory belongs to root: as in the pod, the program can write to its volumes alone.
"""

import base64
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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


def command_line(pod: dict[str, Any], program: Path, root: Path) -> list[str | Path]:
    """How the only container of a pod spec is started in `root`; `program` is what its image would hold."""
    (container,) = pod["containers"]
    user = pod["securityContext"]["runAsUser"]
    return [*(sys.executable, "-c", _LAUNCH), *(program, root, str(user)), *container["command"]]


def content(obj: dict[str, Any]) -> dict[str, bytes]:
    """What the keys of a ConfigMap or Secret hold."""
    if obj["kind"] == "Secret":
        return {key: base64.b64decode(value) for key, value in obj["data"].items()}
    return {key: value.encode() for key, value in obj["data"].items()}


def project(pod: dict[str, Any], root: Path, contents: Content) -> None:
    """Write a pod spec's projected volumes below `root` as the kubelet does: root's, readable to the pod's group."""
    (container,) = pod["containers"]
    places = {mount["name"]: root / mount["mountPath"].lstrip("/") for mount in container.get("volumeMounts") or []}
    for volume in pod.get("volumes") or []:
        for source in (volume.get("projected") or {}).get("sources") or []:
            (origin,) = (each for kind, each in source.items() if kind in {"configMap", "secret"})
            for item in origin["items"]:
                file = places[volume["name"]] / item["path"]
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(contents[origin["name"]][item["key"]])
                file.chmod(volume["projected"]["defaultMode"])
                os.chown(file, 0, pod["securityContext"]["fsGroup"])


def environment(pod: dict[str, Any], contents: Content) -> dict[str, str]:
    """The variables of the only container of a pod spec, those from a Secret looked up."""
    (container,) = pod["containers"]
    variables = {}
    for each in container.get("env") or []:
        if "valueFrom" in each:
            reference = each["valueFrom"]["secretKeyRef"]
            variables[each["name"]] = contents[reference["name"]][reference["key"]].decode()
        else:
            variables[each["name"]] = each["value"]
    return variables
