"""Systems whose vendor configures containerd."""

from pathlib import PurePosixPath

import pytest

from private_registry.agent.runtimes.systemd import unit_of
from private_registry.trust.vendors import own_setting

USUAL = PurePosixPath("/etc/containerd/config.toml")


@pytest.mark.parametrize("system", ["ID=debian\n", 'NAME="talos"\nID="ubuntu"\nID_LIKE=debian\n', "", "ID=\n"])
def test_a_node_that_is_its_administrators(system: str) -> None:
    """Only the field ID tells."""
    assert own_setting(system, USUAL) is None


@pytest.mark.parametrize(
    ("system", "config", "saying"),
    [
        ("ID=talos\n", USUAL, "Talos: "),
        ("ID=debian\n", PurePosixPath("/etc/cri/containerd.toml"), "Talos: "),
        ('NAME=x\nID="bottlerocket"\n', USUAL, "settings.container-registry"),
        ("ID='flatcar'\n", USUAL, "CONTAINERD_CONFIG"),
        ("ID=cos", USUAL, "registryHosts"),
        ("", PurePosixPath("/var/lib/rancher/k3s/agent/etc/containerd/config.toml"), "registries.yaml"),
    ],
)
def test_a_vendors_node(system: str, config: PurePosixPath, saying: str) -> None:
    """It is told by its os-release or by the file that its containerd reads, and named with its own setting."""
    assert saying in (own_setting(system, config) or "")


@pytest.mark.parametrize(
    ("cgroups", "unit"),
    [
        ("0::/system.slice/containerd.service\n", "containerd.service"),
        ("9:name=systemd:/../../system.slice/containerd.service\n0::/other\n", "containerd.service"),
        ("0::/kubelet.slice/x.service/system.slice/containerd.service/inner\n", "containerd.service"),
        ("0::/kubepods/besteffort/pod1/abc\n", None),
        ("", None),
    ],
)
def test_the_service_of_a_process(cgroups: str, unit: str | None) -> None:
    """It is the innermost one, as seen from any cgroup namespace."""
    assert unit_of(cgroups) == unit
