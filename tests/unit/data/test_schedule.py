"""When a schedule is due."""

from datetime import UTC, datetime

import pytest

from private_registry.data.schedule import ScheduleInvalidError, next_after


@pytest.mark.parametrize(
    ("schedule", "zone", "after", "due"),
    [
        ("0 3 * * *", "Etc/UTC", (2026, 11, 26, 2, 59), (2026, 11, 26, 3)),
        ("0 3 * * *", "Etc/UTC", (2026, 11, 26, 3), (2026, 11, 27, 3)),
        ("0 3 * * *", "Europe/Berlin", (2026, 11, 26, 0), (2026, 11, 26, 2)),
        ("0 3 * * *", "Europe/Berlin", (2026, 7, 1, 0), (2026, 7, 1, 1)),
        ("*/15 * * * MON", "Etc/UTC", (2026, 11, 26, 0), (2026, 11, 30, 0)),
    ],
)
def test_the_next_time_is_after_the_last_one(
    schedule: str, zone: str, after: tuple[int, ...], due: tuple[int, ...]
) -> None:
    """In the time zone that was asked for, with its summer time, and never the same moment twice."""
    start, end = (datetime(*each, tzinfo=UTC) for each in (after, due))  # type: ignore[misc, arg-type]
    assert next_after(schedule, zone, start) == end


@pytest.mark.parametrize(
    ("schedule", "zone", "message"),
    [
        ("0 3 * *", "Etc/UTC", "must have five fields"),
        ("0 0 3 * * *", "Etc/UTC", "must have five fields"),
        ("61 3 * * *", "Etc/UTC", "cannot be read: Bad minute"),
        ("0 0 30 2 *", "Etc/UTC", "day"),
        ("0 3 * * *", "Berlin", "there is no time zone 'Berlin'"),
        ("0 3 * * *", "../../etc/passwd", "there is no time zone"),
    ],
)
def test_what_is_no_schedule_is_said(schedule: str, zone: str, message: str) -> None:
    """With the part that is wrong."""
    with pytest.raises(ScheduleInvalidError, match=message):
        next_after(schedule, zone, datetime(2026, 11, 26, tzinfo=UTC))
