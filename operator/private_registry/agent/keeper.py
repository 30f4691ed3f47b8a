"""Keeps one registry on this node: from its entry to its files and the runtime's word for them, and back.

Level-triggered: each look compares what is wanted with what is there. A proof runs beside the looks, so that a
registry that does not answer holds up neither its own repair nor anybody else's anything.
"""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from private_registry.agent.files.config_file import ConfigFileError
from private_registry.agent.files.daemon_file import DaemonFileError
from private_registry.agent.files.made import NotVisibleError
from private_registry.agent.files.roots import ConflictError, HeldError
from private_registry.agent.health import Health
from private_registry.agent.node import NOT_WRITTEN, Node
from private_registry.agent.pulse import Pulse
from private_registry.agent.report import Reporter, Row
from private_registry.trust.docker import FlagConflictError
from private_registry.trust.node_files import NodeFiles
from private_registry.trust.reasons import Reason, Verdict

logger = logging.getLogger(__name__)

_GATHER = 0.05
_FIRST_RETRY, _LAST_RETRY, _LAST_UNDO_RETRY = 0.5, 60.0, 5.0
_MAY_PASS = (Reason.UNREACHABLE, Reason.RUNTIME_UNAVAILABLE, Reason.NOT_HONOURED)
_REPAIRS, _REPAIRS_WITHIN = 10, 60.0
"""More repairs than this within so many seconds is a fight, and nobody wins one."""


@dataclass(frozen=True)
class Undo:
    """Nothing of the registry is wanted on this node."""

    gone: bool
    """Because its entry is gone, which may have reasons that mean nothing."""


@dataclass(frozen=True)
class Tools:
    """What all keepers share."""

    node: Node
    reporter: Reporter
    health: Health
    may_undo: Callable[[], Awaitable[bool]]
    """Whether an entry that is gone was taken away on purpose."""
    proof_interval: float
    """Seconds."""


class Keeper:
    """One registry on one node."""

    def __init__(self, registry: str, goal: NodeFiles | Undo, tools: Tools) -> None:
        self.registry = registry
        self.goal = goal
        self._tools = tools
        self._pulse = Pulse(_GATHER)
        self._pulse.set(0)
        self._proof: asyncio.Task[Verdict] | None = None
        self._proof_of: tuple[NodeFiles, int] | None = None
        """Files and run of the runtime that the running or last proof speaks of."""
        self._applied: NodeFiles | None = None
        """What the last look left on the node: another look that has to write repairs it."""
        self._failures = 0
        self._unwritten = 0
        """How often in a row the file system has refused."""
        self._due = 0.0
        """When to look again without being woken."""
        self._repairs: deque[float] = deque(maxlen=_REPAIRS + 1)
        self._truce_until = 0.0

    def want(self, goal: NodeFiles | Undo) -> None:
        if goal != self.goal:
            self.goal = goal
            self._failures = self._unwritten = 0
            self._truce_until = 0.0
            self._pulse.set(0)

    def check(self) -> None:
        """Something may have changed on the node."""
        self._pulse.set()

    async def run(self) -> None:
        """Pursue the goal; returns when it is to undo and nothing is left."""
        clock = asyncio.get_running_loop().time
        try:
            while True:
                goal = self.goal
                if isinstance(goal, NodeFiles):
                    await self._keep(goal, clock())
                elif await self._undo(goal):
                    return
                # The end of a proof wakes us.
                await self._pulse.wait(None if self._proof else max(0.0, self._due - clock()))
        finally:
            self._stop_proof()

    async def _keep(self, files: NodeFiles, now: float) -> None:
        node, reporter = self._tools.node, self._tools.reporter
        if now < self._truce_until:
            return
        if not files.directories or node.trouble:
            self._conclude(files, node.trouble if files.directories else files.refusal, retry=_LAST_RETRY)
            return
        await reporter.listed(Row(self.registry, files.entry_hash, Verdict(Reason.APPLYING)))
        if self.goal != files:
            return
        try:
            writes = await node.apply(files)
        except NOT_WRITTEN as error:
            self._conclude(files, verdict_of(error), retry=self._retry_after(error))
            return
        self._unwritten = 0
        repaired = bool(writes) and self._applied == files
        self._applied = files
        if repaired and self._is_fight(now):
            self._truce_until = now + _LAST_RETRY
            message = f"another program keeps changing the files of {self.registry} on this node: stop it"
            self._conclude(files, Verdict(Reason.CONFLICT, message), retry=_LAST_RETRY)
        elif writes or self._proof_of != (files, node.run):
            self._start_proof(files)
        elif self._proof is None:
            if now >= self._due:
                self._start_proof(files)
        elif self._proof.done():
            # The files were right after it, too: the look above wrote nothing.
            verdict = self._proof.result()
            self._proof = None
            self._judge(files, verdict)

    def _retry_after(self, error: Exception) -> float:
        """Seconds. No event tells that there is space again on a disk, and a file of somebody else's seldom goes."""
        if isinstance(error, HeldError):
            return _FIRST_RETRY
        if not isinstance(error, OSError):
            return _LAST_RETRY
        self._unwritten += 1
        return min(_LAST_RETRY, _FIRST_RETRY * 2.0 ** (self._unwritten - 1))

    def _judge(self, files: NodeFiles, verdict: Verdict) -> None:
        if verdict.trusted:
            self._failures = 0
            interval = self._tools.proof_interval
            self._conclude(files, files.refusal or verdict, retry=interval * random.uniform(0.9, 1.1))  # noqa: S311
            return
        self._failures += 1
        retry = min(_LAST_RETRY, _FIRST_RETRY * 2 ** (self._failures - 1))
        # kube-proxy may be a moment behind, a runtime may be restarting, and there is a cure for one that does not read
        # our files: the first time says little.
        passing = verdict.reason in _MAY_PASS and self._failures == 1
        self._conclude(files, None if passing else verdict, retry=retry)

    def _conclude(self, files: NodeFiles, verdict: Verdict | None, *, retry: float) -> None:
        """Say so, and look again in `retry` seconds unless woken before."""
        self._due = asyncio.get_running_loop().time() + retry
        self._tools.health.concluded(self.registry, verdict)
        if verdict is None:
            return
        if not verdict.trusted:
            self._proof_of = None
            self._stop_proof()
        if self._tools.reporter.set(Row(self.registry, files.entry_hash, verdict)):
            logger.log(
                logging.INFO if verdict.trusted else logging.WARNING,
                "%s: %s %s",
                self.registry,
                verdict.reason,
                verdict.message,
            )

    def _start_proof(self, files: NodeFiles) -> None:
        self._stop_proof()
        self._proof_of = (files, self._tools.node.run)
        self._proof = asyncio.create_task(self._tools.node.prove(files))
        self._proof.add_done_callback(lambda _: self._pulse.set(0))

    def _stop_proof(self) -> None:
        if self._proof:
            self._proof.cancel()
            self._proof = None

    def _is_fight(self, now: float) -> bool:
        self._repairs.append(now)
        return len(self._repairs) > _REPAIRS and now - self._repairs[0] < _REPAIRS_WITHIN

    async def _undo(self, goal: Undo) -> bool:
        """Remove what there is; returns whether nothing is left to do."""
        node, reporter = self._tools.node, self._tools.reporter
        self._stop_proof()
        self._proof_of = self._applied = None
        held = self.registry in node.registries
        if not held and self.registry not in reporter.registries:
            return True
        retry = asyncio.get_running_loop().time() + min(_LAST_UNDO_RETRY, _FIRST_RETRY * 2**self._failures)
        if goal.gone and not await self._tools.may_undo():
            self._failures += 1
            self._due = retry
            return False
        undoing = Row(self.registry, "", Verdict(Reason.UNDOING))
        if held:
            await reporter.listed(undoing)
        if self.goal != goal:
            return False
        reporter.set(undoing)
        try:
            await node.remove(self.registry)
        except (OSError, DaemonFileError, ConfigFileError) as error:
            self._failures += 1
            self._due = retry
            message = f"what is left of {self.registry} cannot be removed: {_text(error)}"
            reporter.set(Row(self.registry, "", Verdict(Reason.UNDOING, message)))
            return False
        if self.goal != goal:
            return False
        reporter.drop(self.registry)
        logger.info("%s: undone", self.registry)
        return True


def verdict_of(error: Exception) -> Verdict:
    """What is to be said of one of NOT_WRITTEN."""
    match error:
        case ConflictError() | FlagConflictError():
            return Verdict(Reason.CONFLICT, str(error))
        case DaemonFileError():
            return Verdict(Reason.DAEMON_CONFIG_INVALID, f"{error}; correct it")
        case HeldError():
            return Verdict(Reason.HOST_TAKEN, str(error))
        case NotVisibleError():
            return Verdict(Reason.CONFIG_PATH_UNREADABLE, str(error))
        case _:
            return Verdict(Reason.FILE_SYSTEM_ERROR, f"the files cannot be written on this node: {_text(error)}")


def _text(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error)
