"""How full a volume is, and when a registry stops taking pushes for it."""

import json
from typing import Any

import pytest

from private_registry.api.conditions import Reason
from private_registry.api.quantity import parse_quantity, quantity_of
from private_registry.api.storage import StorageStatus
from private_registry.data.space import AnswerInvalidError, Space, causes, is_close, is_full, parse, reserve, told
from private_registry.jobs.report import measure

MIB, GIB, TIB = 2**20, 2**30, 2**40
NOTHING = StorageStatus()


def with_free(free: int, total: int = 100 * GIB, *, inodes: int = 0, free_inodes: int = 0) -> Space:
    return Space(total, total - free, free, inodes, free_inodes)


class TestAnswer:
    """What a reporter says is read; what somebody else says in its place is not believed."""

    def test_of_a_reporter(self, tmp_path: Any) -> None:
        """The two sides agree about every field."""
        found = measure(tmp_path)
        space = parse(json.dumps(found).encode())
        assert space == Space(found["total"], found["used"], found["free"], found["inodesTotal"], found["inodesFree"])
        assert 0 < space.free < space.total

    @pytest.mark.parametrize(
        "answer",
        [
            *(b"", b"<html>", b"\xff", b"[1]", b"null", b"7", b"[" * 100_000),
            *(b'{"total": 0}', b'{"total": 7}', b'{"total": true, "used": 0, "free": 0}'),
        ],
    )
    def test_of_nobody(self, answer: bytes) -> None:
        """Whatever it is, it is one error."""
        with pytest.raises(AnswerInvalidError):
            parse(answer)

    @pytest.mark.parametrize("field", ["total", "used", "free", "inodesTotal", "inodesFree"])
    @pytest.mark.parametrize("value", [None, -1, 1.5, "7", True, 2**80, [], {}])
    def test_of_someone_who_makes_things_up(self, field: str, value: Any) -> None:
        """No field is anything but a number that a file system could have."""
        right = {"total": 10, "used": 4, "free": 5, "inodesTotal": 0, "inodesFree": 0}
        parse(json.dumps(right).encode())
        with pytest.raises(AnswerInvalidError):
            parse(json.dumps({**right, field: value}).encode())

    @pytest.mark.parametrize("field", ["used", "free"])
    def test_more_than_all(self, field: str) -> None:
        """Nothing is more than the total."""
        with pytest.raises(AnswerInvalidError):
            parse(json.dumps({"total": 10, "used": 4, "free": 5, field: 11}).encode())

    def test_more_free_inodes_than_there_are(self) -> None:
        """Ceph says so, and is believed: it has enough."""
        answer = {"total": 10, "used": 4, "free": 5, "inodesTotal": 3, "inodesFree": 2**64 - 1}
        assert not is_full(parse(json.dumps(answer).encode()), "0", before=False)


class TestGuard:
    """Read-only below the reserve, writable again above twice of it, and as before where nobody knows."""

    @pytest.mark.parametrize(
        ("total", "asked", "kept"),
        [
            (100 * GIB, None, 5 * GIB),
            (10 * TIB, None, 512 * GIB),
            (5 * GIB, None, 256 * MIB),
            (2 * GIB, None, 256 * MIB),
            (1 * GIB, None, 256 * MIB),
            (400 * MIB, None, 100 * MIB),
            (1, None, 0),
            (10 * TIB, "20Gi", 20 * GIB),
            (100 * GIB, "50Gi", 25 * GIB),
            (100 * GIB, "0", 0),
            (100 * GIB, "1n", 0),
            (100 * GIB, "five", 5 * GIB),
        ],
    )
    def test_what_stays_free(self, total: int, asked: str | None, kept: int) -> None:
        """A twentieth, at least 256 MiB, at most a quarter; or what is asked for."""
        assert reserve(total, asked) == kept

    @pytest.mark.parametrize(
        ("free", "before", "after"),
        [
            (5 * GIB, False, False),
            (5 * GIB - 1, False, True),
            (0, False, True),
            (0, True, True),
            (5 * GIB, True, True),
            (10 * GIB - 1, True, True),
            (10 * GIB, True, False),
            (100 * GIB, False, False),
        ],
    )
    def test_there_and_back(self, free: int, before: bool, after: bool) -> None:
        """At the very byte; in between it stays what it is."""
        assert is_full(with_free(free), before=before) is after

    @pytest.mark.parametrize("before", [True, False])
    def test_nobody_knows(self, before: bool) -> None:
        """Ignorance changes nothing, in neither direction."""
        assert is_full(None, before=before) is before
        assert not is_close(None)

    @pytest.mark.parametrize(
        ("free", "before", "after"), [(50, False, False), (49, False, True), (99, True, True), (100, True, False)]
    )
    def test_no_inodes_left(self, free: int, before: bool, after: bool) -> None:
        """A disk with room that can make no file takes no push either."""
        space = with_free(90 * GIB, inodes=1000, free_inodes=free)
        assert is_full(space, before=before) is after

    def test_pushes_may_fill_it_up(self) -> None:
        """Where nothing is to stay free it is never read-only, so that images can be deleted from a full one."""
        full = with_free(0, inodes=1000, free_inodes=0)
        assert is_full(full, before=True)
        assert not is_full(full, "0", before=True)
        assert not is_close(full, "0")

    @pytest.mark.parametrize(("free", "close"), [(15 * GIB, False), (15 * GIB - 1, True), (0, True)])
    def test_how_often_it_is_looked_at(self, free: int, close: bool) -> None:
        """More often before it is too late, and as long as it is."""
        assert is_close(with_free(free)) is close


class TestStatus:
    """What is told of it, and what is not."""

    def test_the_first_figures(self) -> None:
        """Four digits, in the unit that fits."""
        assert told(Space(100 * GIB, 81 * GIB, 18 * GIB + 420 * MIB), NOTHING) == StorageStatus(
            total="100Gi", used="81Gi", free="18.41Gi"
        )

    @pytest.mark.parametrize(("change", "news"), [(0, False), (GIB - 60 * MIB, False), (GIB + 60 * MIB, True)])
    @pytest.mark.parametrize("direction", [1, -1])
    def test_one_percent(self, change: int, news: bool, direction: int) -> None:
        """Less of a change is no news, in either direction; it is measured from what was told, so it adds up."""
        before = told(with_free(50 * GIB), NOTHING)
        after = told(with_free(50 * GIB + direction * change), before)
        assert (after != before) is news

    def test_a_volume_that_grew(self) -> None:
        """Its new size is told."""
        before = told(with_free(50 * GIB), NOTHING)
        assert told(with_free(70 * GIB, 120 * GIB), before).total == "120Gi"

    def test_nobody_knows(self) -> None:
        """What was seen last stays."""
        before = told(with_free(GIB), NOTHING)
        assert before.full
        assert told(None, before) == before

    def test_the_turning_point_is_told_however_near(self) -> None:
        """A byte that makes the difference makes it in the status as well."""
        before = told(with_free(5 * GIB), NOTHING)
        after = told(with_free(5 * GIB - 1), before)
        assert not before.full
        assert after.full

    def test_the_reason_and_the_ways_out(self) -> None:
        """How much is left, and each thing that can be done."""
        storage = told(with_free(GIB), NOTHING)
        (cause,) = causes(storage)
        assert cause.reason == Reason.DISK_FULL
        for part in (
            "1Gi free of 100Gi",
            "spec.storage.size",
            "collect-garbage",
            "spec.storage.reserve",
            "delete images",
        ):
            assert part in cause.message
        assert causes(told(with_free(50 * GIB), storage)) == ()

    @pytest.mark.parametrize("number", [0, 1, 1023, 1024, 1025, 10**6, 2**30 - 1, 2**30, 10**12, 2**63, 2**70])
    def test_a_quantity_is_near_the_number(self, number: int) -> None:
        """Whoever calculates with it is off by half a thousandth at most."""
        text = quantity_of(number)
        assert len(text) <= 7
        assert abs(parse_quantity(text) - number) <= number / 2000
