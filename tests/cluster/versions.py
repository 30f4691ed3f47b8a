"""Every version that the test cluster is made of. A bump is an edit of this file and of nothing else.

Kubernetes stays at 1.34: from 1.35 on the kubelet refuses cgroup v1 by default. kind stays at 0.30, whose published
node image is of the same minor version.
"""

KUBERNETES = "v1.34.4"
OLDEST_KUBERNETES = "v1.30.14"  # the oldest minor version that the operator supports; control plane only
CONTAINERD = "v2.2.9"
OTHER_CONTAINERDS = ("v1.7.35", "v2.0.14", "v2.1.9", "v2.3.7", "v2.4.2")  # the newest of each minor version
DEBIAN_CONTAINERD = "v1.6.20"  # of bookworm, beside its Docker Engine
REGISTRY = "v3.1.1"
ETCD = "v3.6.16"
COREDNS = "v1.14.7"
CRICTL = "v1.34.0"
CRANE = "v0.20.6"
REGCTL = "v0.11.7"
ORAS = "v1.3.6"
KUBE_SCORE = "v1.20.0"
KIND = "v0.30.0"
LOCAL_PATH_PROVISIONER = "v0.0.30"
MACHINES = {"bookworm": "20.10", "trixie": "26.1"}  # releases of Debian, and their Docker Engine

# What kubeadm of this Kubernetes asks for by name (`kubeadm config images list`); the programs inside are those above.
ETCD_TAG = "3.6.5-0"
COREDNS_TAG = "v1.12.1"
PAUSE_TAG = "3.10.1"

# As published, for machines that reach the usual image registries. The node image is the one that kind 0.30 names.
PUBLISHED_NODE_IMAGE = "kindest/node:v1.34.0@sha256:7416a61b42b1662ca6ca89f02028ac133a309a2a30ba309614e8ec94d976dc5a"
PUBLISHED_PYTHON_IMAGE = (  # the Dockerfile has it as its default
    "python:3.13-slim-bookworm@sha256:67a1e1f215ccda113cfc024e8639049257e88f273898f595b61476d128d387e8"
)
PUBLISHED_BUSYBOX_IMAGE = "busybox:1.37@sha256:9db7b59979c38555a39def84a31fb98b5296952f9e3afd4f6f11f05b07adfab0"

CLUSTER = "private-registry"
BARE_CLUSTER = "private-registry-bare"  # of one test: its nodes look into no directory, and have no IPv4
NODE_IMAGE = f"kindest/node:{KUBERNETES}"
OPERATOR_IMAGE = "private-registry-operator:dev"
REGISTRY_IMAGE = f"docker.io/library/registry:{REGISTRY.removeprefix('v')}"
BUSYBOX_IMAGE = "busybox:v1"
