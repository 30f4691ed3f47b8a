"""Go programs from their published modules, at pinned versions, checked by Go's own checksum database.

Each module is built inside a throw-away module of its own. `go install PACKAGE@VERSION` refuses modules with replace
directives, and one module for everything would give each program the dependencies of the others.
"""

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster import versions
from tests.cluster.commands import output, run

DATA = Path(__file__).parent.parent / "data"


@dataclass(frozen=True)
class Programs:
    """Programs of one Go module at one version."""

    name: str
    version: str
    packages: dict[str, str]  # name of the program: its package, empty for a main.go that needs none
    ldflags: str = ""
    tags: str = ""
    main: Path | None = None  # a main.go of ours, in place of the module's own command
    modules: dict[str, str] = field(default_factory=dict)  # module: version, in place of what the module asks for

    def directory(self, cache: Path) -> Path:
        """Return where the programs are when they are built."""
        return cache / "bin" / f"{self.name}-{self.version}"


def build(programs: Programs, cache: Path, log: Path) -> Path:
    """Build what is not there yet and return the directory of the programs. Raises CommandError."""
    target = programs.directory(cache)
    missing = {name: package for name, package in programs.packages.items() if not (target / name).exists()}
    if not missing:
        return target
    module = cache / "go" / f"{programs.name}-{programs.version}"
    made = module / "made"
    shutil.rmtree(module, ignore_errors=True)
    made.mkdir(parents=True)
    target.mkdir(parents=True, exist_ok=True)
    env = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=mod -buildvcs=false -trimpath", "GOWORK": "off"}

    def go(*arguments: str) -> None:
        run("nice", "go", *arguments, log=log, cwd=module, env=env)

    go("mod", "init", "programs")
    for name, version in programs.modules.items():
        go("mod", "edit", f"-replace={name}={name}@{version}")
    if packages := [f"{package}@{programs.version}" for package in missing.values() if package]:
        go("get", *packages)
    if programs.main:
        shutil.copy(programs.main, module / "main.go")
    flags = ("-tags", programs.tags, "-ldflags", f"-s -w {programs.ldflags}")
    if len(missing) > 1:  # in one go, so that one program is compiled while another one is linked
        go("build", *flags, "-o", f"{made}/", *missing.values())
    else:  # by name: the last element of a package's path may be a major version
        [(name, package)] = missing.items()
        go("build", *flags, "-o", str(made / name), "." if programs.main else package)
    for name in missing:
        (made / name).replace(target / name)
    return target


def kubernetes(version: str, *names: str) -> Programs:
    """Kubernetes' own programs.

    Kubernetes' module names its staging modules (k8s.io/api and so on) with version v0.0.0 and replaces them by
    directories of its repository, which a module that depends on it does not have: take the published ones, whose
    minor and patch version are the same.
    """
    cached = json.loads(output("go", "mod", "download", "-json", f"k8s.io/kubernetes@{version}", timeout=600))
    required = json.loads(output("go", "mod", "edit", "-json", cached["GoMod"]))["Require"]
    staging = {each["Path"]: "v0." + version.removeprefix("v1.") for each in required if each["Version"] == "v0.0.0"}
    minor = version.split(".")[1]
    stamps = {"gitVersion": version, "gitMajor": "1", "gitMinor": minor, "gitTreeState": "clean"}
    stamped = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return Programs(
        name="kubernetes",
        version=version,
        packages={name: f"k8s.io/kubernetes/cmd/{name}" for name in names},
        ldflags=" ".join(f"-X {package}.{key}={value}" for package in stamped for key, value in stamps.items()),
        modules=staging,
    )


def containerd(version: str = versions.CONTAINERD, *, alone: bool = False) -> Programs:
    """Containerd with its shim and ctr, or alone, to pull. Version 1 and version 2 are different modules."""
    module = "github.com/containerd/containerd" + ("" if version.startswith("v1.") else "/v2")
    return Programs(
        name="containerd",
        version=version,
        packages={
            name: f"{module}/cmd/{name}"
            for name in ("containerd", *(() if alone else ("containerd-shim-runc-v2", "ctr")))
        },
        ldflags=f"-X {module}/version.Version={version}",
        tags="no_btrfs no_devmapper no_zfs no_aufs",
    )


ETCD = Programs("etcd", versions.ETCD, {"etcd": "go.etcd.io/etcd/server/v3"})
REGISTRY = Programs(
    "registry",
    versions.REGISTRY,
    {"registry": "github.com/distribution/distribution/v3/cmd/registry"},
    ldflags=f"-X github.com/distribution/distribution/v3/version.version={versions.REGISTRY}",
)
COREDNS = Programs(
    "coredns",
    versions.COREDNS,
    {"coredns": "github.com/coredns/coredns/coremain"},
    main=DATA / "coredns" / "main.go",
)
KIND = Programs("kind", versions.KIND, {"kind": "sigs.k8s.io/kind"})
CRICTL = Programs("crictl", versions.CRICTL, {"crictl": "sigs.k8s.io/cri-tools/cmd/crictl"})
KUBE_SCORE = Programs("kube-score", versions.KUBE_SCORE, {"kube-score": "github.com/zegl/kube-score/cmd/kube-score"})
CRANE = Programs("crane", versions.CRANE, {"crane": "github.com/google/go-containerregistry/cmd/crane"})
REGCTL = Programs("regctl", versions.REGCTL, {"regctl": "github.com/regclient/regclient/cmd/regctl"})
ORAS = Programs("oras", versions.ORAS, {"oras": "oras.land/oras/cmd/oras"})
CLIENTS = (CRANE, REGCTL, ORAS)
LOCAL_PATH = Programs(
    "local-path-provisioner",
    versions.LOCAL_PATH_PROVISIONER,
    {"local-path-provisioner": "github.com/rancher/local-path-provisioner"},
)
PAUSE = Programs("pause", versions.PAUSE_TAG, {"pause": ""}, main=DATA / "pause" / "main.go")
