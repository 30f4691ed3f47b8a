"""The Docker daemon: the machine's own where one answers, else one of ours, installed from Debian.

Ours keeps its data in the cache directory, and is known by its configuration file, which is on its command line.
Any state that a daemon of ours may have left behind when it was cut off is put in order before it is started again.
"""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.cluster.commands import CommandError, output, run, tail
from tests.cluster.host import unmount
from tests.waiting import eventually

PACKAGES = {"dockerd": "docker.io", "iptables": "iptables", "mmdebstrap": "mmdebstrap"}  # program: Debian package
EXEC_ROOT = Path("/run/private-registry/docker")
PID_FILE = EXEC_ROOT.with_suffix(".pid")
SOCKET = Path("/var/run/docker.sock")
INSTALLED = "installed"  # file in the cache directory: the Debian packages that were added
SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"  # another containerd's shim in the PATH would be taken for Docker's
SYS_RESOURCE = 24  # bit of CAP_SYS_RESOURCE

# `docker run --privileged` asks for every capability that the kernel knows, and runc refuses one that this machine's
# bounding set lacks ("unable to apply caps: operation not permitted"): leave it out of what runc is asked for.
RUNC_WITHOUT_SYS_RESOURCE = """\
#!/bin/sh
previous=
for word; do
  case $previous in
    --bundle|-b) specification=$word/config.json ;;
    --process|-p) specification=$word ;;
    *) specification= ;;
  esac
  if [ -f "$specification" ]; then
    sed -i 's/"CAP_SYS_RESOURCE",[[:space:]]*//g; s/,[[:space:]]*"CAP_SYS_RESOURCE"//g' "$specification"
  fi
  previous=$word
done
exec /usr/sbin/runc "$@"
"""


def answers() -> bool:
    """Tell whether a Docker daemon answers to the `docker` command, whoever started it."""
    if not shutil.which("docker"):
        return False
    try:
        output("docker", "version", "--format", "{{.Server.Version}}", timeout=20)
    except CommandError:
        return False
    return True


def missing_packages() -> list[str]:
    """Return the Debian packages that a daemon of ours, and building, need and that are not installed."""
    return [package for program, package in PACKAGES.items() if not shutil.which(program, path=SYSTEM_PATH)]


def install(packages: list[str], cache: Path, log: Path) -> None:
    """Install Debian packages, without starting any service, and note which are new. Raises CommandError."""
    before = _installed()
    policy = Path("/usr/sbin/policy-rc.d")  # Debian's own way to say that no service may be started
    ours = not policy.exists()
    if ours:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    try:
        env = {"DEBIAN_FRONTEND": "noninteractive"}
        run("apt-get", "update", "--quiet", log=log, env=env, timeout=600)
        run("apt-get", "install", "--quiet", "--yes", "--no-install-recommends", *packages, log=log, env=env)
    finally:
        if ours:
            policy.unlink()
        with (cache / INSTALLED).open("a") as note:
            note.writelines(f"{each}\n" for each in sorted(_installed() - before))


def uninstall(cache: Path, log: Path) -> None:
    """Remove the Debian packages that `install` has added. Raises CommandError."""
    note = cache / INSTALLED
    if note.exists() and (packages := sorted(_installed() & set(note.read_text().split()))):
        run("apt-get", "purge", "--quiet", "--yes", *packages, log=log, env={"DEBIAN_FRONTEND": "noninteractive"})


def start(cache: Path) -> None:
    """Start a daemon of ours and wait until it answers. Raises CommandError with the end of its log."""
    directory = cache / "docker"
    directory.mkdir(parents=True, exist_ok=True)
    configuration, log = _configuration(cache), directory / "dockerd.log"
    settings: dict[str, object] = {
        "data-root": str(directory / "data"),
        "exec-root": str(EXEC_ROOT),
        "pidfile": str(PID_FILE),
        "hosts": [f"unix://{SOCKET}"],
        "storage-driver": "overlay2",
    }
    if not _bounding_set() >> SYS_RESOURCE & 1:
        wrapper = directory / "runc-without-sys-resource"
        wrapper.write_text(RUNC_WITHOUT_SYS_RESOURCE)
        wrapper.chmod(0o755)
        settings |= {"runtimes": {"restricted": {"path": str(wrapper)}}, "default-runtime": "restricted"}
    configuration.write_text(json.dumps(settings, indent=1))
    _clear_up(cache)
    EXEC_ROOT.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as out:
        daemon = subprocess.Popen(
            ["dockerd", "--config-file", configuration],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env={**os.environ, "PATH": SYSTEM_PATH},
            start_new_session=True,  # it outlives this run
        )

    def up() -> bool:
        if daemon.poll() is not None:
            raise CommandError(f"dockerd ended with status {daemon.returncode}; the end of {log}:\n{tail(log)}")
        return answers()

    try:
        eventually(up, within=120, every=0.3, what="the Docker daemon answers")
    except AssertionError as late:
        raise CommandError(f"{late}; the end of {log}:\n{tail(log)}") from late


def ours(cache: Path) -> int | None:
    """Return the process id of the daemon of ours, or None when none runs."""
    return next(_processes("dockerd", str(_configuration(cache))), None)


def left_behind() -> bool:
    """Tell whether containers of a daemon of ours run (their shims name its directory), with or without the daemon."""
    return next(_processes("containerd", str(EXEC_ROOT)), None) is not None


def stop(cache: Path) -> None:
    """Stop the daemon of ours with everything that it runs, and remove its traces outside of the cache directory."""
    pid = ours(cache)
    if pid:
        os.kill(pid, signal.SIGTERM)
        eventually(lambda: ours(cache) is None, within=90, what="the Docker daemon has ended")
    _clear_up(cache)
    if pid or EXEC_ROOT.parent.exists():
        SOCKET.unlink(missing_ok=True)
        shutil.rmtree(EXEC_ROOT.parent, ignore_errors=True)
        subprocess.run(["ip", "link", "delete", "docker0"], capture_output=True, check=False)


def remove_container(name: str) -> None:
    """Remove a container and its volumes, if it is there."""
    subprocess.run(["docker", "rm", "--force", "--volumes", name], capture_output=True, check=False)


def remove_network(name: str) -> None:
    """Remove a network, if it is there and no container uses it."""
    subprocess.run(["docker", "network", "rm", name], capture_output=True, check=False)


def _installed() -> set[str]:
    return set(output("dpkg-query", "--show", "--showformat", "${binary:Package}\n").split())


def _configuration(cache: Path) -> Path:
    return cache / "docker" / "daemon.json"


def _clear_up(cache: Path) -> None:
    """Remove what a daemon of ours left behind that was cut off, unless containers of it still run.

    With them running their state is needed: the next daemon finds them by it and ends them.
    """
    if (pid := ours(cache)) is not None:  # it runs, but does not answer
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: ours(cache) is None, within=10, what="the Docker daemon is dead")
    PID_FILE.unlink(missing_ok=True)  # dockerd refuses to start when that pid has become another process's
    if left_behind():
        return
    for directory in (EXEC_ROOT, cache / "docker" / "data"):
        unmount(directory)
    shutil.rmtree(EXEC_ROOT, ignore_errors=True)


def _processes(program: str, word: str) -> Iterator[int]:
    """Yield the ids of the processes whose name begins with `program` and whose arguments contain `word`."""
    for entry in Path("/proc").iterdir():
        try:
            if (entry / "comm").read_text().startswith(program) and word in (entry / "cmdline").read_text():
                yield int(entry.name)
        except OSError:  # not a process, or one that ended meanwhile
            continue


def _bounding_set() -> int:
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("CapBnd:")).split()[1], 16)
