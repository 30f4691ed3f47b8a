"""The node loop: gives every registry its keeper, and wakes keepers when entries, files or the runtime change."""

import asyncio
import contextlib
import logging
from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path, PurePosixPath

from private_registry.agent.files import daemon_file, drop_ins, hosts_file
from private_registry.agent.files.atomic import TEMPORARY, on_host
from private_registry.agent.files.config_file import ConfigFileError
from private_registry.agent.health import Health
from private_registry.agent.keeper import Keeper, Tools, Undo
from private_registry.agent.node import Node
from private_registry.agent.pulse import Pulse
from private_registry.agent.report import Found, Reporter
from private_registry.agent.runtimes.containerd import Containerd, ContainerdKind
from private_registry.agent.runtimes.crio import ROOT as CRIO_ROOT
from private_registry.agent.runtimes.crio import Crio, CrioKind
from private_registry.agent.runtimes.docker import ROOT as DOCKER_ROOT
from private_registry.agent.runtimes.docker import Docker, DockerKind
from private_registry.agent.runtimes.managed import Management
from private_registry.agent.runtimes.runtime import Kind, RuntimeMissingError
from private_registry.agent.runtimes.systemd import NodeCommands
from private_registry.agent.watch import Watcher
from private_registry.api import hosts, names
from private_registry.kube.client import ApiError, Kube
from private_registry.kube.kinds import CONFIG_MAP, NAMESPACE, NODE_TRUST, SERVICE_CIDR
from private_registry.kube.reflector import Reflector
from private_registry.trust import entry, node_files
from private_registry.trust.node_files import NodeFiles
from private_registry.trust.reasons import Verdict

logger = logging.getLogger(__name__)

_GATHER = 0.05
_REREAD = 60.0
"""Seconds between two looks at everything by path, whatever inotify says."""
_REFUSAL = 4.0
_FILES = (hosts_file.PATH, daemon_file.DIRECTORY / daemon_file.NAME, drop_ins.PATH / "*.conf")
"""Files that registries share, or that lie beside those of others."""
_RUNTIME_MAY_RESTART = 5
"""Looks in vain, within 15 seconds or so, before a runtime that was there counts as lost."""


class NodeLoop:
    """One agent at work. `run` it within a running event loop."""

    def __init__(
        self,
        kube: Kube,
        *,
        node_name: str,
        agents_namespace: str,
        rules: hosts.Rules,
        node: Node,
        reporter: Reporter,
        health: Health,
        proof_interval: float,
        commands: NodeCommands | None = None,
    ) -> None:
        """`commands`: where this agent may restart containerd."""
        self._kube = kube
        self._node_name = node_name
        self._namespace = agents_namespace
        self._rules = rules
        self._ranges_are_given = bool(rules.service_ranges)
        self._node = node
        self._reporter = reporter
        self._health = health
        self._tools = Tools(node, reporter, health, self._may_undo, proof_interval)
        self._keepers: dict[str, Keeper] = {}
        self._asked: tuple[object, ...] = ()
        """Entries, labels and rules that the goals were read from: none of them changes with most pulses."""
        self._goals: dict[str, NodeFiles | Undo] = {}
        self._pulse = Pulse(_GATHER)
        self._refused_until = 0.0
        self._watched = set[Path]()
        """Directories, be they there or not."""
        self._containerd = _containerd(node, node_name)
        self._kinds = _kinds(node, self._containerd)
        self._management = self._containerd.management = Management(
            reporter,
            node.places.config_file,
            node.on_disk,
            commands=commands,
            node=node_name,
            in_use=lambda: bool(node.registries),
            answers=self._containerd.answers,
            changed=self._look_at_containerd_again,
        )
        self._runtime_pulses = {kind.name: Pulse(_GATHER) for kind in self._kinds}
        self._examined = {kind.name: asyncio.Event() for kind in self._kinds}
        """Once that runtime was looked for, found or not."""
        selector = ",".join(f"{key}={value}" for key, value in entry.LABELS.items())
        self._entries = Reflector(kube, CONFIG_MAP, agents_namespace, labels=selector, changed=self._pulse.set)
        self._own = Reflector(kube, NODE_TRUST, fields=f"metadata.name={node_name}", changed=self._see_node_trust)

    async def run(self) -> None:
        """Serve until cancelled. Nothing is undone at the end."""
        watcher = Watcher(self._changed_on_node)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._entries.run())
                group.create_task(self._own.run())
                group.create_task(self._reporter.run())
                for kind in self._kinds:
                    group.create_task(self._follow_runtime(kind))
                await self._follow(group, watcher)
        finally:
            watcher.close()
            await self._node.close()

    async def _follow(self, group: asyncio.TaskGroup, watcher: Watcher) -> None:
        await self._reporter.present.wait()
        for examined in self._examined.values():
            await examined.wait()
        await self._survey()
        group.create_task(self._management.run())
        clock = asyncio.get_running_loop().time
        reread_at = clock()
        while True:
            if reread := clock() >= reread_at:
                await self._survey()
                self._check(self._keepers)
                reread_at = clock() + _REREAD
            if self._entries.synced:
                self._health.listed = True
                if not self._rules.service_ranges or (reread and self._refuses()):
                    await self._learn_service_ranges()
                self._assign(group)
            self._management.check()
            self._watched = self._directories()
            watcher.watch(self._watched)
            await self._pulse.wait(max(0.0, reread_at - clock()))

    async def _survey(self) -> None:
        try:
            await self._node.survey()
        except (OSError, ConfigFileError) as error:  # keepers meet it too, and report it
            logger.warning("the node's directories cannot be looked through: %s", error)

    def _refuses(self) -> bool:
        return any(isinstance(keeper.goal, NodeFiles) and keeper.goal.refusal for keeper in self._keepers.values())

    async def _learn_service_ranges(self) -> None:
        """Take the Service ranges from the API server, unless the administrator has told them."""
        if self._ranges_are_given:
            return
        try:
            found = await self._kube.list(SERVICE_CIDR)
        except ApiError as error:
            logger.warning(
                "the address range of Services is not known: set --service-cidr", extra={"error": str(error)}
            )
            return
        ranges = tuple(ip_network(cidr) for each in found.items for cidr in each["spec"]["cidrs"])
        self._rules = replace(self._rules, service_ranges=ranges)

    def _see_node_trust(self) -> None:
        self._reporter.see(self._own.objects.get(self._node_name))
        self._runtime_pulses[ContainerdKind.name].set()
        self._pulse.set()

    def _look_at_containerd_again(self) -> None:
        """What is known of how it is configured may be true no more."""
        self._runtime_pulses[ContainerdKind.name].set()
        self._check(self._keepers)

    def _assign(self, group: asyncio.TaskGroup) -> None:
        """Tell every keeper what is wanted, with keepers for whatever is or should be on this node."""
        asked = (dict(self._entries.objects), self._reporter.labels, self._rules)
        if asked != self._asked:
            self._asked, self._goals = asked, self._read_goals()
        goals = self._goals
        known = self._node.registries | self._reporter.registries | self._keepers.keys()
        for registry in known | goals.keys():
            goal = goals.get(registry)
            if registry in self._keepers:
                self._keepers[registry].want(goal or Undo(gone=True))
            elif registry in known or isinstance(goal, NodeFiles):
                keeper = self._keepers[registry] = Keeper(registry, goal or Undo(gone=True), self._tools)
                self._health.expected(registry)
                group.create_task(self._keep(keeper))

    def _read_goals(self) -> dict[str, NodeFiles | Undo]:
        """What the entries ask of this node. A registry that is not in it has no entry."""
        goals: dict[str, NodeFiles | Undo] = {}
        selected: list[tuple[str, entry.Entry]] = []
        for name, config_map in self._entries.objects.items():
            speaks_of = names.registry_of_entry(name)
            if speaks_of is None:
                logger.warning("the ConfigMap %s/%s is no trust entry by its name", self._namespace, name)
                continue
            registry = names.key(*speaks_of)
            try:
                parsed = entry.parse(config_map)
            except entry.EntryInvalidError as error:
                goals[registry] = node_files.refused(registry, entry.data_of(config_map), str(error))
                continue
            if parsed.selects(self._reporter.labels):
                selected.append((config_map["metadata"].get("creationTimestamp", ""), parsed))
            else:
                goals[registry] = Undo(gone=False)
        oldest_first = sorted(selected, key=lambda each: (each[0], each[1].registry))
        return goals | node_files.allocate([each for _, each in oldest_first], self._rules)

    async def _keep(self, keeper: Keeper) -> None:
        await keeper.run()
        del self._keepers[keeper.registry]
        self._health.forget(keeper.registry)

    async def _may_undo(self) -> bool:
        """Whether entries that are gone were taken away by the operator.

        Asked after an entry was seen to be gone: while the namespace goes down its entries vanish too, and only
        after it has said that it does. A refusal holds for all registries for some seconds.
        """
        clock = asyncio.get_running_loop().time
        if clock() < self._refused_until:
            return False
        try:
            namespace = await self._kube.get(NAMESPACE, None, self._namespace)
            complete = await self._kube.get(CONFIG_MAP, self._namespace, names.COMPLETE)
        except ApiError as error:
            why = f"it cannot be asked whether that is meant: {error}"
        else:
            if all(each is not None and "deletionTimestamp" not in each["metadata"] for each in (namespace, complete)):
                return True
            why = f"the ConfigMap {names.COMPLETE} or its namespace is gone"
        logger.warning("nothing is undone: %s", why)
        self._refused_until = clock() + _REFUSAL
        return False

    async def _follow_runtime(self, kind: Kind) -> None:
        """Notice when a runtime appears, restarts or goes."""
        await self._reporter.present.wait()
        for found in self._reporter.runtimes:  # where it looked once may not be where it does today
            root, _, _ = found.config_path.partition(":")
            if found.name == kind.name and root.startswith("/"):
                self._node.places.root(kind.name, PurePosixPath(root))
        failures = 0
        while True:
            wait = _REREAD
            try:
                await self._look_at_runtime(kind)
                failures = 0
            except RuntimeMissingError as missing:
                was_there = self._node.runtime(kind.name) is not None
                failures += 1
                if was_there or missing.verdict:
                    wait = min(_REREAD, 0.25 * 2**failures)
                if not was_there or failures > _RUNTIME_MAY_RESTART:
                    await self._lose(kind, missing.verdict)
            self._examined[kind.name].set()
            await self._runtime_pulses[kind.name].wait(wait)

    async def _look_at_runtime(self, kind: Kind) -> None:
        identity = await asyncio.to_thread(kind.identify)
        before = self._node.runtime(kind.name)
        if before is not None and before.identity == identity:
            return
        runtime = await kind.detect()
        logger.info("%s %s, looks hosts up in %r", runtime.name, runtime.version, runtime.config_path)
        await self._node.adopt(runtime)
        self._report_runtimes()

    async def _lose(self, kind: Kind, verdict: Verdict | None) -> None:
        """Do without this runtime for now. One that cannot be asked is still said to be there."""
        if self._node.runtime(kind.name) is None and self._node.lost(kind.name) == verdict:
            return
        await self._node.lose(kind.name, verdict)
        if verdict is None:
            self._report_runtimes()
        self._check(self._keepers)

    def _report_runtimes(self) -> None:
        containerd = self._node.runtime(ContainerdKind.name)
        self._management.see(containerd.process if isinstance(containerd, Containerd) else None)
        found = [Found(each.name, each.version, each.config_path) for each in self._node.runtimes]
        self._reporter.set_runtimes(found)
        self._check(self._keepers)
        self._pulse.set()

    def _directories(self) -> set[Path]:
        """What to watch: hosts, the directories that they are in, what those are in, and the signs of runtimes."""
        at = self._node.host_root
        directories = {on_host(at, sign.parent) for kind in self._kinds for sign in kind.signs}
        directories |= {on_host(at, path.parent) for path in _FILES}
        for runtime in self._node.runtimes:
            if runtime.root is None:
                continue
            root = runtime.root.here
            directories |= {root, root.parent}
            for keeper in self._keepers.values():
                if isinstance(keeper.goal, NodeFiles):
                    directories |= {root / each.host for each in runtime.directories(keeper.goal) if each.files}
        return directories

    def _changed_on_node(self, directory: Path, name: str) -> None:
        if name.startswith(TEMPORARY):
            return
        if directory / name in self._watched:  # one that has come, gone or been swapped is to be watched as it is now
            self._pulse.set()
        at = self._node.host_root
        for kind in self._kinds:
            if any(directory == on_host(at, sign.parent) and name in ("", sign.name) for sign in kind.signs):
                self._runtime_pulses[kind.name].set()
        if any(directory == on_host(at, path.parent) and path.match(name or "*") for path in _FILES):
            self._check(self._keepers)
        for root in {runtime.root.here for runtime in self._node.runtimes if runtime.root}:
            if directory == root:
                self._check(self._keepers_of(name))
            elif directory.parent == root:
                self._check(self._keepers_of(directory.name))
            elif directory == root.parent and name in ("", root.name):
                self._check(self._keepers)

    def _keepers_of(self, name: str) -> Iterable[str]:
        """Those that a directory of the root matters to; all of them when it is not said which."""
        for registry, keeper in self._keepers.items():
            if not name:
                yield registry
            elif isinstance(keeper.goal, NodeFiles):
                for directory in keeper.goal.directories:
                    if name in (directory.host, directory.shadow):
                        yield registry

    def _check(self, registries: Iterable[str]) -> None:
        for registry in registries:
            with contextlib.suppress(KeyError):
                self._keepers[registry].check()


def _containerd(node: Node, name: str) -> ContainerdKind:
    places = node.places
    return ContainerdKind(node.host_root, name, lambda path: places.root(Containerd.name, path), places.literal)


def _kinds(node: Node, containerd: ContainerdKind) -> tuple[Kind, ...]:
    """The runtimes that are looked for."""
    places = node.places
    return (
        containerd,
        DockerKind(places.dockerd, places.root(Docker.name, DOCKER_ROOT), places.daemon_file),
        CrioKind(node.host_root, places.root(Crio.name, CRIO_ROOT), places.drop_ins),
    )
