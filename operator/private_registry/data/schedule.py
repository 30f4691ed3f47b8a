"""When something is due that is asked for as cron does."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

_FIELDS = 5


class ScheduleInvalidError(ValueError):
    """No cron expression of five fields, no time zone, or a day that never comes; says which."""


def next_after(schedule: str, time_zone: str, after: datetime) -> datetime:
    """The first moment after `after` (which has a time zone) that the schedule names, in UTC.

    The schedule is read in `time_zone`, a name of the IANA database. Raises ScheduleInvalidError.
    """
    try:
        zone = ZoneInfo(time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ScheduleInvalidError(f"there is no time zone {time_zone!r}: use a name such as Europe/Berlin") from None
    # A sixth field would be seconds, which nothing else that takes schedules in a cluster knows.
    if len(schedule.split()) != _FIELDS:
        raise ScheduleInvalidError(f"the schedule {schedule!r} must have five fields, such as '0 3 * * *'")
    try:
        return next(CronSim(schedule, after.astimezone(zone))).astimezone(UTC)
    except CronSimError as error:
        raise ScheduleInvalidError(f"the schedule {schedule!r} cannot be read: {error}") from None
    except StopIteration:
        raise ScheduleInvalidError(f"the schedule {schedule!r} names a day that never comes") from None
