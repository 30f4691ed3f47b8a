"""Debian root filesystems, made by mmdebstrap from the machine's own package sources."""

import hashlib
import shutil
from pathlib import Path

from tests.cluster.commands import CommandError, run

POD = (
    *("ca-certificates", "python3", "python3-pip", "busybox-static"),
    *("iptables", "conntrack", "iproute2", "kmod", "procps"),
)
NODE = (
    *("systemd", "systemd-sysv", "dbus", "ca-certificates", "curl", "procps", "hostname", "util-linux", "mount"),
    *("runc", "containernetworking-plugins", "iptables", "nftables", "ipset", "conntrack", "iproute2", "ethtool"),
    *("kmod", "socat", "iputils-ping"),
)
_MACHINE = ("docker.io", "runc", "podman", "skopeo", "ca-certificates", "iptables", "busybox-static", "procps")
MACHINE = {"bookworm": _MACHINE, "trixie": (*_MACHINE, "docker-cli")}
UNWANTED = ("man", "doc", "locale", "info")
# Shell commands that mmdebstrap runs with the new root directory as $1. Where TLS is intercepted on the way to package
# registries, the machine has certificate authorities of its own, and what is made here needs them as well.
AUTHORITIES = (
    'mkdir -p "$1/usr/local/share/ca-certificates"; '
    'cp -L /usr/local/share/ca-certificates/*.crt "$1/usr/local/share/ca-certificates/" 2>/dev/null || :'
)
# It starts many processes, in a chroot: in a process namespace of their own they all end with the first one.
TOGETHER = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
CLEAN = (
    'rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*.bin "$1"/etc/hostname "$1"/etc/resolv.conf; '
    ': >"$1/etc/machine-id"'
)


def codename() -> str:
    """Return the name of this machine's Debian release, for example `bookworm`. Raises CommandError elsewhere."""
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    if release.get("ID") != "debian" or "VERSION_CODENAME" not in release:
        raise CommandError(f"this machine runs {release.get('PRETTY_NAME')}, not a Debian release")
    return release["VERSION_CODENAME"].strip('"')


def sources() -> Path:
    """Return the machine's list of Debian's package sources. Raises CommandError when it has none."""
    candidates = [Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list")]
    for each in candidates:
        if each.exists():
            return each
    raise CommandError(f"no Debian package sources: neither {candidates[0]} nor {candidates[1]}")


def path(name: str, packages: tuple[str, ...], cache: Path, release: str = "") -> Path:
    """Return where the archive of a root filesystem is or will be: another list of packages is another archive.

    Of another `release` of Debian than this machine's it is a directory.
    """
    what = hashlib.sha256(repr((packages, AUTHORITIES, CLEAN, release or codename())).encode()).hexdigest()[:8]
    return cache / "rootfs" / (f"{name}-{release}-{what}" if release else f"{name}-{what}.tar")


def build(name: str, packages: tuple[str, ...], cache: Path, log: Path, release: str = "") -> Path:
    """Make the archive, or the directory of a `release`, unless it is there, and return it. Raises CommandError."""
    target = path(name, packages, cache, release)
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    (cache / "tmp").mkdir(parents=True, exist_ok=True)
    temporary = cache / "tmp" / target.name
    if release:
        shutil.rmtree(temporary, ignore_errors=True)
    run(
        *TOGETHER, "nice", "mmdebstrap", "--mode=root", "--variant=minbase", f"--include={','.join(packages)}",
        *(f"--dpkgopt=path-exclude=/usr/share/{each}/*" for each in UNWANTED),
        f"--essential-hook={AUTHORITIES}", f"--customize-hook={CLEAN}",
        release or codename(), temporary, _sources_of(release, cache), log=log, env={"TMPDIR": str(cache / "tmp")},
    )  # fmt: skip
    temporary.replace(target)
    return target


def _sources_of(release: str, cache: Path) -> Path:
    """The machine's package sources, for another release of Debian if one is named."""
    found = sources()
    if not release or release == codename():
        return found
    changed = cache / "tmp" / f"{release}{found.suffix}"
    changed.write_text(found.read_text().replace(codename(), release))
    return changed
