"""How full a volume is, and when a registry has to stop taking pushes for it. Pure.

A registry whose disk is full answers a push with an error in the middle of it. One that is read-only before that says
so at once, to everybody, and what the operator and a collection still have to write finds room.
"""

import contextlib
import json
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from private_registry.api import names
from private_registry.api.conditions import Reason
from private_registry.api.quantity import InvalidQuantityError, parse_quantity, quantity_of
from private_registry.api.storage import StorageStatus
from private_registry.data.readonly import Cause

LARGEST = 2**70
"""More than any file system says that it has, be it one in a cloud that has no end."""
STEADY = Decimal("0.01")
"""Of the total: what a figure may change by before that is news. A status that follows each push helps nobody."""
INODES = 20
"""One of so many inodes has to be free: without any, a disk with room is as full as one without."""

_MIB = 2**20


class AnswerInvalidError(ValueError):
    """The answer is none of a reporter's; the message says why."""


@dataclass(frozen=True)
class Space:
    """What a file system says of itself, in bytes."""

    total: int
    used: int
    free: int
    """For who is not root: with what is set aside for root, `used` and `free` are less than the total."""
    inodes_total: int = 0
    """0: the file system counts none."""
    inodes_free: int = 0


def parse(answer: bytes) -> Space:
    """Read a reporter's answer. Raises AnswerInvalidError: the pod is its owner's, and he may answer in its place."""
    try:
        found = json.loads(answer)
    except (ValueError, RecursionError):
        raise AnswerInvalidError("no JSON") from None
    if not isinstance(found, dict):
        raise AnswerInvalidError("no object")
    total = _number(found, "total", LARGEST)
    if not total:
        raise AnswerInvalidError("a file system of no size")
    return Space(
        total=total,
        used=_number(found, "used", total),
        free=_number(found, "free", total),
        inodes_total=_number(found, "inodesTotal", LARGEST),
        # Ceph says that more are free than there are.
        inodes_free=_number(found, "inodesFree", LARGEST),
    )


def _number(found: dict[str, Any], field: str, most: int) -> int:
    value = found.get(field)
    if type(value) is not int or not 0 <= value <= most:
        raise AnswerInvalidError(f"{field} is no number from 0 to {most}")
    return value


def reserve(total: int, asked: str | None = None) -> int:
    """Bytes that have to stay free on a file system of this size: below them no push is taken. 0: all may be used.

    Unless something else is `asked` for, a twentieth, and at least 256 MiB: what one large layer, or a dozen pushes
    that are under way, still write between a look at the volume and the moment at which the registry takes no more. A
    quarter at most in any case, or a small volume could never be used.
    """
    wanted = max(total // 20, 256 * _MIB)
    if asked is not None:
        with contextlib.suppress(InvalidQuantityError):  # which admission lets nobody ask for
            wanted = int(parse_quantity(asked))
    return min(wanted, total // 4)


def is_full(space: Space | None, asked: str | None = None, *, before: bool) -> bool:
    """Whether the volume is too full for pushes, and was `before`.

    Once it was, it is until twice the reserve is free: a registry that comes and goes with each push serves nobody.
    Where nobody knows how full it is (None), all stays as it is.
    """
    return before if space is None else _has_less(space, asked, 2 if before else 1)


def is_close(space: Space | None, asked: str | None = None) -> bool:
    """Whether a volume is to be looked at more often, because it may be too full before long, or be so no more."""
    return space is not None and _has_less(space, asked, 3)


def _has_less(space: Space, asked: str | None, times: int) -> bool:
    """Than so many times what has to be free."""
    free = reserve(space.total, asked)
    return space.free < free * times or (free > 0 and space.inodes_free * INODES < space.inodes_total * times)


def told(space: Space | None, before: StorageStatus, asked: str | None = None) -> StorageStatus:
    """What a status says of a volume.

    Figures stay as they were `before` until one has changed by more than one percent of the total, or until what they
    mean has. `asked`: what is to stay free.
    """
    if space is None:
        return before
    full = is_full(space, asked, before=before.full)
    new = {"total": space.total, "used": space.used, "free": space.free}
    said = {field: _bytes(getattr(before, field)) for field in new}
    if full == before.full and all(abs(value - said[field]) <= STEADY * space.total for field, value in new.items()):
        return before
    return StorageStatus(**{field: quantity_of(value) for field, value in new.items()}, full=full)


def causes(storage: StorageStatus) -> tuple[Cause, ...]:
    """Why a registry with such a volume is read-only, if it is to be."""
    if not storage.full:
        return ()
    return (
        Cause(
            Reason.DISK_FULL,
            f"the volume has {storage.free} free of {storage.total}: pushes are refused before it is full, until twice "
            "the reserve is free; raise spec.storage.size, or collect what no image refers to (annotation "
            f'{names.COLLECT}); to delete images first, set spec.storage.reserve to "0" meanwhile',
        ),
    )


def _bytes(text: str) -> Decimal:
    """Of a status of before; one that says nothing is far from everything."""
    try:
        return parse_quantity(text)
    except InvalidQuantityError:
        return Decimal("-Infinity")
