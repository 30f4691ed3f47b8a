"""The one thing that an agent restarts: containerd, to have it read `config_path`, on a node that was opted in.

Level-triggered, like everything else: each look goes from what is on the disk, what runs and whose turn it is to the
next step. The record beside the file outlives a crash at any point; a turn is given to one node at a time.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final, Protocol, TypeVar

from private_registry.agent.files import config_file
from private_registry.agent.files.config_file import ConfigFile, ConfigFileError, Edit, Record
from private_registry.agent.pulse import Pulse
from private_registry.agent.report import Reporter, RuntimeConfig
from private_registry.agent.runtimes.runtime import RuntimeMissingError
from private_registry.agent.runtimes.systemd import NodeCommandError, NodeCommands
from private_registry.api import names
from private_registry.trust.containerd import DEFAULT_ROOT, Lookup, unfit
from private_registry.trust.formats.config_toml import ConfigNotEditableError, set_config_path
from private_registry.trust.reasons import Reason, Verdict
from private_registry.trust.vendors import own_setting

logger = logging.getLogger(__name__)

ANSWERS_WITHIN: Final = 30.0
"""Seconds that a restarted containerd has until its CRI answers."""

_GATHER = 0.05
_LOOK = 60.0
_ASK_AGAIN = 0.2

T = TypeVar("T")


class OnDisk(Protocol):
    """Runs something in the one thread that touches the node's disk."""

    async def __call__(self, work: Callable[..., T], *arguments: object) -> T:
        """Return what it returns, and raise what it raises."""


class RefusedError(Exception):
    """This node's containerd is not to be configured by an agent; the message says by whom, and how."""


@dataclass(frozen=True)
class Process:
    """A containerd that runs, as far as its configuration goes."""

    pid: int
    run: str
    """Which run of it: another one after every restart, and after a reboot."""
    version: str
    lookup: Lookup
    """Where it looks hosts up, by its status or its files."""


class Management:
    """The opt-in of one node."""

    def __init__(
        self,
        reporter: Reporter,
        files: ConfigFile,
        on_disk: OnDisk,
        *,
        commands: NodeCommands | None,
        node: str,
        in_use: Callable[[], bool],
        answers: Callable[[], Awaitable[str]],
        changed: Callable[[], None],
    ) -> None:
        """`commands`: None where the agent's pod may not enter the node.

        `in_use`: whether files of a registry are on the node; `answers`: the run of the containerd whose CRI answers
        now (raises RuntimeMissingError); `changed` is called when containerd is to be looked at again.
        """
        self._reporter = reporter
        self._files = files
        self._on_disk = on_disk
        self._commands = commands
        self._node = node
        self._in_use = in_use
        self._answers = answers
        self._changed = changed
        self._process: Process | None = None
        self._validated = ""
        """Id of the edit that containerd has been asked about."""
        self._why = ""
        """What went wrong with the edit that is there."""
        self._is_back = ""
        """Id of the edit that was taken back, as long as something is left of it."""
        self._pulse = Pulse(_GATHER)

    @property
    def wanted(self) -> bool:
        """Whether the administrator has opted this node in, and this agent may do it."""
        return self._commands is not None and self._opted_in

    @property
    def _opted_in(self) -> bool:
        return self._reporter.labels.get(names.RUNTIME_CONFIG) == names.MANAGE

    @property
    def identity(self) -> Hashable:
        """Another one, and containerd may look hosts up somewhere else."""
        return self.wanted, self._files.changes

    def awaits_restart(self, run: str) -> bool:
        """Whether this run of containerd has not read the file that is there."""
        return self._files.record is not None and self._files.record.process == run

    def verdict(self, lookup: Lookup) -> Verdict | None:
        """What is to be said of a containerd that reads no directory yet."""
        said = self._reporter.runtime_config
        if said is None or said.state == "Managed":
            return lookup.verdict
        return Verdict(Reason.CONFIG_PATH_UNSET, said.message)

    def see(self, process: Process | None) -> None:
        """Take notice of the containerd that runs now."""
        self._process = process
        self._pulse.set()

    def check(self) -> None:
        """The label, the turn or the files may have changed."""
        self._pulse.set()

    async def run(self) -> None:
        """Do what there is to do, until cancelled."""
        while True:
            await self._pulse.wait(_LOOK)
            try:
                await self._look()
            except (OSError, ConfigFileError) as error:
                if not self._is_back:  # then it has been said what happened
                    self._say("Refused", "", f"config_path cannot be set on this node: {error}")

    async def _look(self) -> None:
        record, process = self._files.record, self._process
        why = self._why or (record.failure if record else "")
        if record and why and self._commands:
            await self._go_back(self._commands, why)
        elif not self._opted_in:
            if record:
                await self._on_disk(self._files.forget)
                logger.info("%s is as it was", config_file.DIRECTORY / record.file)
                self._changed()
            self._reporter.set_runtime_config(None)
        elif self._commands is None or process is None:
            return  # another agent takes over; or containerd is away, and others say so
        elif record is None:
            await self._begin(process, self._commands)
        elif not await self._on_disk(self._files.is_in_place):  # a crash came before it, or somebody has replaced it
            await self._on_disk(self._files.forget)
            self._changed()
            self._pulse.set()
        elif record.process != process.run:
            self._say("Managed", record.edit, "")
        elif self._has_turn(record.edit, process):
            await self._restart(self._commands)

    async def _begin(self, process: Process, commands: NodeCommands) -> None:
        """Find out what to change and whether it may be; change it when it is this node's turn."""
        lookup = process.lookup
        if lookup.verdict is None or lookup.verdict.reason is not Reason.CONFIG_PATH_UNSET or not self._in_use():
            self._reporter.set_runtime_config(None)
            return
        try:
            unit, edit = await self._plan(process, commands)
        except RefusedError as error:
            use = f"the label {names.RUNTIME_CONFIG} is of no use"
            self._say("Refused", "", f"config_path is not set in {lookup.config}, and {use} on this node: {error}")
            return
        said = self._reporter.runtime_config
        if said and (said.state, said.edit) == ("Failed", edit.id):
            return
        if self._has_turn(edit.id, process):
            await self._on_disk(lambda: self._files.edit(edit, unit=unit, process=process.run))
            await self._restart(commands)

    def _has_turn(self, edit: str, process: Process) -> bool:
        if self._reporter.turn == edit:
            return True
        message = (
            f"containerd {process.version} reads no directory for registries yet: config_path is to be set in "
            f"{process.lookup.config} and containerd restarted when this node's turn has come, one node at a time "
            "(kubectl get nodetrusts tells who is before it)"
        )
        self._say("Waiting", edit, message)
        return False

    async def _plan(self, process: Process, commands: NodeCommands) -> tuple[str, Edit]:
        """The service to restart and the edit, which containerd itself has read. Raises RefusedError and OSError."""
        config = process.lookup.config
        if not process.lookup.may_be_set:
            raise RefusedError("the table registry.mirrors is in it")
        try:
            if own := own_setting(await commands.os_release(), config):
                raise RefusedError(f"this is {own}")
            if config.parent != config_file.DIRECTORY:
                raise RefusedError(f"only a file in {config_file.DIRECTORY} is edited, and this one is somebody else's")
            unit = await commands.unit(process.pid)
            before = await self._on_disk(self._files.read, config.name)
            edit = _edit(config.name, before, process.version)
            if self._validated != edit.id:
                await self._validate(process, edit, commands)
                self._validated = edit.id
        except (NodeCommandError, ConfigNotEditableError, ConfigFileError) as error:
            raise RefusedError(f"{error}. Set it by hand and restart containerd") from None
        return unit, edit

    async def _validate(self, process: Process, edit: Edit, commands: NodeCommands) -> None:
        """Have containerd read the file before it has to. Raises RefusedError, NodeCommandError and OSError."""
        try:
            await self._on_disk(self._files.propose, edit.after)
            dump = await commands.dump(process.pid, config_file.DIRECTORY / config_file.CANDIDATE)
        finally:
            await self._on_disk(self._files.withdraw)
        if why := unfit(dump, edit.directory):
            raise RefusedError(f"{why}. Set it by hand and restart containerd")

    async def _restart(self, commands: NodeCommands) -> None:
        """Have the edit read: by a restart, after which the CRI answers, or else back to what there was."""
        record = self._files.record
        assert record is not None
        self._say(
            "Restarting", record.edit, f"{record.unit} is being restarted, with config_path set in {_path(record.file)}"
        )
        logger.info("restarting %s, with config_path set in %s", record.unit, _path(record.file))
        try:
            await self._restarted(commands, record.unit, not_by=record.process)
        except (NodeCommandError, TimeoutError) as error:
            self._why = str(error) or f"its CRI did not answer within {ANSWERS_WITHIN:g} s"
            with contextlib.suppress(OSError):  # it is only for whoever comes after a crash
                await self._on_disk(self._files.fail, self._why)
            await self._go_back(commands, self._why)
            return
        self._say("Managed", record.edit, "")
        logger.info("%s runs with config_path set in %s", record.unit, _path(record.file))
        self._changed()

    async def _go_back(self, commands: NodeCommands, why: str) -> None:
        """Have containerd run as it did before, say so, and leave no trace. It is restarted once, be the disk full."""
        record = self._files.record
        assert record is not None
        if self._is_back != record.edit:
            await self._restart_as_before(record, commands, why)
            self._is_back = record.edit
        await self._reporter.told_runtime_config()
        await self._on_disk(self._files.forget)
        self._why = self._is_back = ""
        self._changed()

    async def _restart_as_before(self, record: Record, commands: NodeCommands, why: str) -> None:
        logger.warning("%s goes back to what it was: %s", _path(record.file), why)
        await self._on_disk(self._files.put_back)
        try:
            await self._restarted(commands, record.unit, not_by="")
            how = "the file is as it was, and containerd runs with it"
        except (NodeCommandError, TimeoutError) as error:
            how = f"the file is as it was, and its CRI still does not answer ({error}): see {record.unit} on the node"
        message = (
            f"with config_path set in {_path(record.file)}, {record.unit} did not come back ({why}); {how}. "
            f"No other node is restarted until this one is opted out: kubectl label node {self._node} "
            f"{names.RUNTIME_CONFIG}-"
        )
        self._say("Failed", record.edit, message)

    async def _restarted(self, commands: NodeCommands, unit: str, *, not_by: str) -> None:
        """Restart it; return when another run's CRI answers. Raises NodeCommandError and TimeoutError."""
        self._process = None  # nothing is decided about the run that ends now
        async with asyncio.timeout(ANSWERS_WITHIN):
            await commands.restart(unit)
            while True:
                try:
                    if await self._answers() != not_by:
                        return
                except RuntimeMissingError:
                    pass
                await asyncio.sleep(_ASK_AGAIN)

    def _say(self, state: str, edit: str, message: str) -> None:
        if self._reporter.set_runtime_config(RuntimeConfig(state, edit, message)):
            self._changed()


def _edit(name: str, before: bytes | None, version: str) -> Edit:
    """Raises ConfigNotEditableError."""
    try:
        text = (before or b"").decode()
    except UnicodeDecodeError:
        raise ConfigNotEditableError("it is no text") from None
    after = set_config_path(text, str(DEFAULT_ROOT), version=2 if version.startswith("1.") else 3)
    return Edit(name, before, after.encode(), str(DEFAULT_ROOT))


def _path(file: str) -> PurePosixPath:
    return config_file.DIRECTORY / file
