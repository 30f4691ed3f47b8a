"""Systems whose containerd is configured by their vendor's own means: recognised, and what to set there. Pure.

Sources: the vendors' documentation of containerd's registry settings. None of them was run here.
"""

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Final

SOCKETS: Final[Mapping[str, tuple[str, str]]] = {
    "run/k3s/containerd/containerd.sock": (
        "the containerd of k3s or RKE2",
        "name the registry in registries.yaml (/etc/rancher/k3s or /etc/rancher/rke2) and restart k3s or RKE2",
    ),
    "run/k0s/containerd.sock": (
        "the containerd of k0s",
        "set config_path in a file below /etc/k0s/containerd.d, and the registry in a directory there",
    ),
    "var/snap/microk8s/common/run/containerd.sock": (
        "the containerd of MicroK8s",
        "name the registry in a directory below /var/snap/microk8s/current/args/certs.d",
    ),
}
"""Where their containerd listens, which is not where others look: what it is, and their own setting."""

_SYSTEMS: Final[Mapping[str, str]] = {
    "talos": "Talos: set config_path by a RegistryMirrorConfig or machine.registries in the machine configuration",
    "bottlerocket": "Bottlerocket: set settings.container-registry through its API or user data",
    "flatcar": "Flatcar: have containerd.service read a file of yours (a drop-in that sets CONTAINERD_CONFIG), with "
    "config_path in it",
    "cos": "GKE: set registryHosts in the containerdConfig of the node pool",
}


def own_setting(os_release: str, config: PurePosixPath) -> str | None:
    """Whose system it is and what to set there, when its containerd is its vendor's; None: the administrator's.

    By its os-release(5) and the file that its containerd reads.
    """
    found = re.search(r"^ID=[\"']?([a-z0-9._-]+)", os_release, re.MULTILINE)
    if found and found[1] in _SYSTEMS:
        return _SYSTEMS[found[1]]
    if config.is_relative_to("/etc/cri"):
        return _SYSTEMS["talos"]
    if config.is_relative_to("/var/lib/rancher"):
        return "k3s or RKE2: " + SOCKETS["run/k3s/containerd/containerd.sock"][1]
    return None
