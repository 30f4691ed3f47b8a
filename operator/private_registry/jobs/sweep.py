"""The sweep: which tags of a registry go by its rules, said or done. A Job of its own, without rights in the cluster.

What is in use comes from the operator, as a file. Without such a list, or with an old one, nothing is deleted: images
that nobody has named yet would go. Nothing at all is deleted by a list from before the sweep began, and each deletion
looks at the file again, and at the tag.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from private_registry.data.in_use import ListInvalidError
from private_registry.data.orders import (
    CA,
    FILE,
    PASSWORD,
    USERNAME,
    Orders,
    Result,
    list_key,
    parse_orders,
)
from private_registry.data.retention import Tag, Used, Verdict, decide, rule_for, short, used_by_repository
from private_registry.distribution import Registry, RegistryError
from private_registry.jobs.handover import Handover
from private_registry.jobs.inventory import Inventory

LOOK = 1.0
"""Seconds between two looks whether there is a newer list."""


class SweepFailedError(Exception):
    """Nothing more is deleted; says why."""


@dataclass(frozen=True)
class Settings:
    """What a sweep is told when it is started; none of it is secret."""

    registry: Registry
    """Where it deletes. Without login and CA, which are in files."""
    pull_port: int | None
    """Where it reads, if nobody is asked for a credential there."""
    directory: Path
    """Of the files."""
    result: Path
    """Where to leave how it ended, for the kubelet."""
    host: str | None
    """Address to hand the list over at; None: every one of the pod's."""
    port: int
    fresh: float = 300.0
    """Seconds to wait for a list from after the beginning: a kubelet takes a minute or two to renew a file."""
    patience: float = 60.0
    """Seconds to wait for somebody to fetch the list."""


@dataclass
class _Found:
    """A repository, and what is to become of it."""

    name: str
    kept_whole: int = 0
    """Tags that stay without having been looked at, because no rule is for them or they have no manifest."""
    why: str = ""
    tags: list[Tag] = field(default_factory=list)
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    """By tag, in the order in which they may be deleted."""
    outcomes: dict[str, str] = field(default_factory=dict)
    """By tag: what was done, where it is something else than the verdict says."""

    def lines(self) -> Iterator[str]:
        if self.kept_whole:
            yield f"{self.name}: {self.kept_whole} tags stay: {self.why}"
        for tag, verdict in sorted(self.verdicts.items()):
            said = f"stays: {'; '.join(verdict.reasons)}" if verdict.stays else self.outcomes.get(tag, "would go")
            yield f"{self.name}:{tag} {short(verdict.tag.digest)} {said}"


async def run(settings: Settings, say: Callable[[str], None]) -> Result:
    """Sweep once, say what is to become of every tag, and leave behind how it ended."""
    sweep = _Sweep(settings)
    try:
        server = Handover(list_key(login[1]) if (login := sweep.login) else "")
        async with server.serving(settings.host, settings.port):
            result = await sweep.run()
            lines = list(sweep.lines(result))
            for line in lines:
                say(line)
            await server.offer("".join(f"{line}\n" for line in lines), settings.patience)
    except OSError as error:
        result = Result("Failed", message=str(error))
    settings.result.write_text(result.text())
    return result


class _Sweep:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._began = datetime.now(UTC)
        self._orders: Orders | None = None
        self._read: tuple[int, int] | None = None
        """Of the file with the orders, as it was read last: its inode and time."""
        self._found: list[_Found] = []

    @property
    def login(self) -> tuple[str, str] | None:
        directory = self._settings.directory
        if not (directory / USERNAME).exists():
            return None
        return (directory / USERNAME).read_text(), (directory / PASSWORD).read_text()

    async def run(self) -> Result:
        try:
            orders = self._current()
            ca_file = self._settings.directory / CA
            ca_bundle = ca_file.read_text() if ca_file.exists() else ""
            registry = replace(self._settings.registry, ca_bundle=ca_bundle, login=self.login, deadline=60.0)
            reads = registry
            if self._settings.pull_port:
                reads = replace(registry, port=self._settings.pull_port, login=None)
            async with Inventory.of(reads) as inventory:
                await self._look(inventory, orders)
                await self._decide(inventory, orders)
                if orders.mode == "Enforce" and any(not each.stays for each in self._verdicts()):
                    orders = await self._fresh(orders)
                    await self._decide(inventory, orders)
                    async with registry.connected(1) as deletes:
                        await self._delete(inventory, deletes, orders)
        except (RegistryError, ListInvalidError, SweepFailedError, OSError) as error:
            return self._counted().failed(str(error))
        return self._counted()

    def lines(self, result: Result) -> Iterator[str]:
        mode = self._orders.mode if self._orders else "no list of images in use"
        yield f"sweep of {self._began.isoformat(timespec='seconds')}, {mode}: {result.result}"
        if result.message:
            yield result.message
        yield f"{result.kept} tags stay, {result.would_delete} would go, {result.deleted} are gone"
        for each in self._found:
            yield from each.lines()

    def _current(self) -> Orders:
        """What the file says now. Raises ListInvalidError, OSError."""
        path = self._settings.directory / FILE
        status = path.stat()
        if self._orders is None or self._read != (status.st_ino, status.st_mtime_ns):
            self._orders, self._read = parse_orders(path.read_text()), (status.st_ino, status.st_mtime_ns)
        self._orders.in_use.demand_recent(datetime.now(UTC))
        return self._orders

    async def _fresh(self, before: Orders) -> Orders:
        """The orders, once they were made after the beginning; an image that came into use just before is in them."""
        for _ in range(int(self._settings.fresh / LOOK) + 1):
            if (orders := self._same(before)).in_use.taken >= self._began:
                return orders
            await asyncio.sleep(LOOK)
        raise SweepFailedError(
            f"no list of the images in use was made within {self._settings.fresh:.0f} s of the beginning"
        )

    def _same(self, before: Orders) -> Orders:
        """The current orders, as long as the rules are the ones that were asked for."""
        orders = self._current()
        if not orders.asks_as(before):
            raise SweepFailedError("spec.retention was changed meanwhile")
        return orders

    async def _look(self, inventory: Inventory, orders: Orders) -> None:
        for repository in await inventory.repositories():
            names, rule = await inventory.names(repository), rule_for(repository, orders.rules)
            if rule is None:
                self._found.append(_Found(repository, len(names), "no rule is for this repository"))
                continue
            tags = await inventory.tags(repository, names)
            there = [tag for tag in tags.values() if tag]
            self._found.append(_Found(repository, len(names) - len(there), "they have no manifest", there))

    async def _decide(self, inventory: Inventory, orders: Orders) -> None:
        used = used_by_repository(orders.in_use.images)
        for each in self._found:
            if rule := rule_for(each.name, orders.rules):
                of_it = await inventory.with_parts(each.name, used.get(each.name, Used()), each.tags)
                verdicts = decide(rule, each.tags, of_it, self._began)
                each.verdicts = {verdict.tag.name: verdict for verdict in verdicts}

    async def _delete(self, inventory: Inventory, registry: Registry, orders: Orders) -> None:
        """One after the other. Raises as `run` catches."""
        for each in self._found:
            for name, before in list(each.verdicts.items()):
                if before.stays:
                    continue
                if (current := self._same(orders)) is not orders:
                    orders = current
                    await self._decide(inventory, orders)
                if each.verdicts[name].stays:
                    continue
                if await inventory.registry.manifest_digest(each.name, name) != before.tag.digest:
                    each.outcomes[name] = "stays: it was pushed or deleted meanwhile"
                    continue
                try:
                    await registry.delete_manifest(each.name, name)
                except RegistryError as error:
                    if error.status == 405:
                        raise SweepFailedError("the registry takes no deletion, it is read-only") from None
                    if error.status != 404:
                        raise
                each.outcomes[name] = "is gone"

    def _verdicts(self) -> Iterator[Verdict]:
        for each in self._found:
            yield from each.verdicts.values()

    def _counted(self) -> Result:
        outcomes = Counter(_outcomes(self._found))
        kept = sum(each.kept_whole for each in self._found) + outcomes["stays"]
        return Result("Succeeded", kept, outcomes["would go"], outcomes["is gone"])


def _outcomes(found: Iterable[_Found]) -> Iterator[str]:
    """One word for each tag that was looked at."""
    for each in found:
        for name, verdict in each.verdicts.items():
            done = each.outcomes.get(name, "stays" if verdict.stays else "would go")
            yield done.partition(":")[0]
