"""Every place on a node where something of ours may be, whatever runs there: looked through, and emptied."""

from pathlib import Path, PurePosixPath

from private_registry.agent.files.config_file import ConfigFile
from private_registry.agent.files.daemon_file import DaemonFile, DaemonFileError
from private_registry.agent.files.drop_ins import DropIns
from private_registry.agent.files.hosts_file import HostsFile
from private_registry.agent.files.literal import LiteralPath
from private_registry.agent.files.roots import Root
from private_registry.agent.runtimes import crio, docker
from private_registry.agent.runtimes.containerd import Containerd
from private_registry.agent.runtimes.dockerd import Dockerd
from private_registry.trust.containerd import BUILT_IN, DEFAULT_ROOT


class Places:
    """The writers of one node, one for each place; for one thread at a time."""

    def __init__(self, host_root: Path) -> None:
        self.host_root = host_root
        self.dockerd = Dockerd(host_root)
        self.hosts_file = HostsFile(host_root)
        self.daemon_file = DaemonFile(host_root, self.dockerd)
        self.config_file = ConfigFile(host_root)
        self.drop_ins = DropIns(host_root, lambda: crio.reload(host_root))
        self._roots: dict[str, dict[PurePosixPath, Root]] = {}
        self._literals: dict[PurePosixPath, LiteralPath] = {}
        self.literal(PurePosixPath(BUILT_IN), DEFAULT_ROOT)
        self.root(Containerd.name, DEFAULT_ROOT)
        self.root(docker.Docker.name, docker.ROOT)
        self.root(crio.Crio.name, crio.ROOT)

    @property
    def roots(self) -> tuple[Root, ...]:
        return tuple({root.path: root for roots in self._roots.values() for root in roots.values()}.values())

    @property
    def all(self) -> tuple[Root | DaemonFile | DropIns | HostsFile, ...]:
        """In the order in which a registry has to leave them: nothing points to a name that is gone."""
        return (*self.roots, self.daemon_file, self.drop_ins, self.hosts_file)

    @property
    def registries(self) -> frozenset[str]:
        """Those that have something on this node, by our marks."""
        return frozenset().union(*(place.registries for place in self.all))

    def root(self, runtime: str, path: PurePosixPath) -> Root:
        """The one writer of a directory, which a runtime reads or did once."""
        known = next((root for root in self.roots if root.path == path), None)
        return self._roots.setdefault(runtime, {}).setdefault(path, known or Root(self.host_root, path))

    def literal(self, path: PurePosixPath, root: PurePosixPath) -> LiteralPath:
        """The one writer of a path that containerd takes a list for."""
        return self._literals.setdefault(path, LiteralPath(self.host_root, path, root))

    def survey(self) -> None:
        """Read whose files there are, and clear away what a crash left, as far as that goes.

        Raises OSError after the last, when there was one, and ConfigFileError.
        """
        failures = []
        for place in (*self.all, *self._literals.values(), self.config_file):
            try:
                place.survey()
            except OSError as error:
                failures.append(error)
        if failures:
            raise failures[0]
        self._remove_unused()

    def remove(self, registry: str) -> int:
        """Remove everything of a registry, wherever it is, as far as that goes; return the number of writes.

        Raises OSError, DaemonFileError and ConfigFileError after the last, when there was one.
        """
        removed, failures = 0, []
        for place in self.all:
            try:
                removed += place.remove(registry)
            except (OSError, DaemonFileError) as error:
                failures.append(error)
        if failures:
            raise failures[0]
        return removed + self._remove_unused()

    def _remove_unused(self) -> int:
        """Remove what serves no registry in particular once there is none."""
        if self.registries:
            return 0
        return sum(literal.remove() for literal in self._literals.values()) + self.config_file.forget()

    def empty_others(self, runtime: str, current: Root | None, literal: LiteralPath | None) -> int:
        """Empty the directories that a runtime does not read any more; return the number of writes. Raises OSError."""
        removed = 0
        for root in self._roots[runtime].values():
            shared = any(root.path in roots for name, roots in self._roots.items() if name != runtime)
            if root is not current and not shared:
                removed += sum(root.remove(registry) for registry in root.registries)
        if runtime == Containerd.name:
            removed += sum(each.remove() for each in self._literals.values() if each is not literal)
        return removed
