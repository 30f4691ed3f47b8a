"""The machine: where everything is kept, what it can do, and what of it has to be put back."""

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.commands import CommandError, output

GIB = 1 << 30
GO = (1, 26)
# What a cluster changes for the whole machine: Docker the first, the kubelets and the systemd of its nodes the others.
SYSCTLS = (
    *("net/ipv4/ip_forward", "net/netfilter/nf_conntrack_max"),
    *("vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops"),
    *("kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes", "fs/file-max", "fs/nr_open"),
    *("fs/protected_fifos", "fs/protected_hardlinks", "fs/protected_regular", "fs/protected_symlinks"),
)


def cache_directory() -> Path:
    """Return the one directory that everything is kept in.

    `$PRIVATE_REGISTRY_CACHE` if set, else `private-registry` in `$XDG_CACHE_HOME` or `~/.cache`.
    """
    chosen = os.environ.get("PRIVATE_REGISTRY_CACHE")
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(chosen).absolute() if chosen else Path(caches) / "private-registry"


@dataclass(frozen=True)
class Machine:
    """What has to be known of a machine before anything is begun on it."""

    root: bool
    debian: bool
    docker: bool  # a daemon answers
    packages: tuple[str, ...]  # Debian packages that a daemon of ours, or building, needs and that are missing
    go: tuple[int, int] | None
    go_fetches: bool  # go gets a newer version of itself when a module asks for one
    memory: int  # bytes in all
    disk: int  # free bytes where the cache directory is
    cgroup: int | None  # version 1 or 2


def inspect(cache: Path, *, docker: bool, packages: list[str]) -> Machine:
    """Look at this machine."""
    version, toolchain = "", "local"
    if shutil.which("go"):
        version, toolchain = output("go", "env", "GOVERSION"), output("go", "env", "GOTOOLCHAIN")
    go = re.match(r"go(\d+)\.(\d+)", version)
    existing = next(each for each in (cache, *cache.parents) if each.exists())
    memory = re.search(r"MemTotal:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    cgroups = Path("/sys/fs/cgroup")
    return Machine(
        root=os.geteuid() == 0,
        debian=bool(re.search(r"^ID=debian$", _read(Path("/etc/os-release")), re.MULTILINE)),
        docker=docker,
        packages=tuple(packages),
        go=(int(go[1]), int(go[2])) if go else None,
        go_fetches=toolchain != "local",
        memory=int(memory[1]) * 1024 if memory else 0,
        disk=shutil.disk_usage(existing).free,
        cgroup=2 if (cgroups / "cgroup.controllers").exists() else 1 if (cgroups / "memory").exists() else None,
    )


def obstacles(machine: Machine, *, built: bool, disk: int, docker: bool = True) -> list[str]:
    """Return why the machine cannot do it, nothing when it can.

    `built`: everything is built here; `disk`: the bytes that will take; `docker`: a Docker daemon is needed.
    """
    found = []
    needs_root = [
        *(["building Debian root filesystems"] if built and docker else []),
        *(["installing and starting Docker (no daemon answers)"] if docker and not machine.docker else []),
    ]
    if needs_root and not machine.root:
        found.append(f"not root: {' and '.join(needs_root)} needs it")
    if needs_root and not machine.debian:
        found.append(f"not Debian: {' and '.join(needs_root)} works on Debian only")
    if built and docker and machine.docker and machine.packages:
        found.append(
            f"{', '.join(machine.packages)} missing; nothing is installed where a Docker daemon answers: "
            f"apt-get install {' '.join(machine.packages)}"
        )
    if built and (machine.go is None or (machine.go < GO and not (machine.go >= (1, 21) and machine.go_fetches))):
        have = "there is no go" if machine.go is None else "go is {}.{}".format(*machine.go)
        found.append(f"{have}: {GO[0]}.{GO[1]} or newer is needed")
    if machine.memory < (memory := 7 if docker else 3) * GIB * 0.95:  # the kernel keeps some for itself
        found.append(f"{machine.memory / GIB:.1f} GiB of memory: {memory} GiB are needed")
    if machine.disk < disk:
        found.append(f"{machine.disk / GIB:.0f} GiB of disk are free: {disk / GIB:.0f} GiB are needed")
    if docker and machine.cgroup is None:
        found.append("no cgroups in /sys/fs/cgroup: nodes need version 1 or 2")
    return found


def record(cache: Path) -> None:
    """Write down what a cluster is going to change on this machine, unless it is written down already."""
    file = cache / "host.json"
    if file.exists():
        return
    values = {name: value for name in SYSCTLS if (value := _read(Path("/proc/sys", name)).strip())}
    policies = {}
    for command in ("iptables", "ip6tables"):
        saved = _rules(command)
        policies[command] = (re.search(r"^:FORWARD (\w+)", saved, re.MULTILINE) or ["", "ACCEPT"])[1]
    cache.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(".tmp")
    temporary.write_text(json.dumps({"sysctls": values, "forward": policies}, indent=1))
    temporary.replace(file)


def restore(cache: Path, *, docker_is_gone: bool) -> None:
    """Put back what `record` wrote down; also the packet filter, where the Docker daemon was ours and has ended."""
    file = cache / "host.json"
    if not file.exists():
        return
    before = json.loads(file.read_text())
    if os.geteuid() == 0:
        for name, value in before["sysctls"].items():
            path = Path("/proc/sys", name)
            if _read(path).strip() != value:
                path.write_text(value)
        if docker_is_gone:
            for command, policy in before["forward"].items():
                rules = _rules(command)
                if (restored := without_docker(rules, policy)) != rules:
                    subprocess.run([f"{command}-restore"], input=restored, text=True, check=True)
    file.unlink()


def without_docker(rules: str, forward: str) -> str:
    """Return the output of iptables-save without what Docker adds, and with the policy `forward` of chain FORWARD."""
    added = re.compile(r"[: ]DOCKER|-[io] (docker0|br-[0-9a-f]{12})\b")
    kept = [line for line in rules.splitlines(keepends=True) if line.startswith("#") or not added.search(line)]
    return re.sub(r"^(\*filter\n(?:.*\n)*?:FORWARD) \w+", rf"\1 {forward}", "".join(kept), flags=re.MULTILINE)


def unmount(directory: Path) -> None:
    """Unmount `directory` and what is mounted below it, innermost first: what was killed has unmounted nothing."""
    top = directory.resolve()
    mounted = [Path(line.split()[4]) for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for point in sorted((each for each in mounted if each.is_relative_to(top)), reverse=True):
        subprocess.run(["umount", "--lazy", point], check=True)


def _rules(command: str) -> str:
    try:
        return output(f"{command}-save") + "\n"
    except CommandError:  # not root, or no such program
        return ""


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
