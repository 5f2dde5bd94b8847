"""Alarms of the monitor with their states, and silences, read from `<p>.alarms`."""

from stream_app.core.alarms.alarm_log import AlarmLog
from stream_app.core.alarms.alarm_record import AlarmRecord
from stream_app.formatting import iso_time
from stream_app.status.status_model import DetectorStatus, MonitorAlarm, SilenceStatus
from stream_app.transfer.record_rendering import sanitize_for_terminal


def monitor_alarms(log: AlarmLog, now: int, *, closed: bool = False) -> tuple[MonitorAlarm, ...]:
    """Return the open alarms, the oldest first.

    Args:
        now: wall clock in Unix milliseconds.
        closed: also return the closed ones, behind the others and the newest first.
    """
    ended = [one for one in log.alarms.values() if not one.is_open] if closed else []
    ended.sort(key=lambda one: (one.opened_at, one.id), reverse=True)
    return tuple(_status(log, one, now) for one in (*log.open(), *ended))


def silences(log: AlarmLog, now: int) -> tuple[SilenceStatus, ...]:
    """Return the silences in force, the one that ends first first; `now` is the wall clock."""
    found = [one for one in log.silences.values() if now < one.until]
    return tuple(
        SilenceStatus(one.name, one.source, iso_time(one.until), one.at, one.who, one.why)
        for one in sorted(found, key=lambda one: one.until)
    )


def detectors(log: AlarmLog) -> tuple[DetectorStatus, ...]:
    """Return the alarms that cannot be raised yet, or not with the labels that come."""
    return tuple(
        DetectorStatus(*one) for _, one in sorted(log.detectors.items()) if one.phase != "bets"
    )


def detector_text(one: DetectorStatus) -> str:
    """Return in words why an alarm cannot be raised.

    >>> detector_text(DetectorStatus("input-drift", "inputs", "waits", "no distributions yet"))
    'input-drift of inputs waits: no distributions yet'
    """
    phase = "waits" if one.phase == "waits" else "is off"
    return sanitize_for_terminal(f"{one.name} of {one.source} {phase}: {one.why}")


def silence_text(one: SilenceStatus) -> str:
    """Return a silence in words.

    >>> silence_text(SilenceStatus("event-volume", None, "2026-03-04T06:00:00", "", "ann@x", "fog"))
    'event-volume until 2026-03-04T06:00 by ann@x: fog'
    """
    of = "" if one.source is None else f" of {one.source}"
    return sanitize_for_terminal(f"{one.name}{of} until {one.until[:16]} by {one.who}: {one.why}")


def _status(log: AlarmLog, alarm: AlarmRecord, now: int) -> MonitorAlarm:
    closed_at = alarm.closed_at
    return MonitorAlarm(
        id=alarm.id,
        name=alarm.name,
        source=alarm.source,
        state=log.state(alarm, now),
        pages=alarm.pages,
        since=iso_time(alarm.since),
        opened_at=iso_time(alarm.opened_at),
        updated_at=iso_time(alarm.updated_at),
        closed_at=None if closed_at is None else iso_time(closed_at),
        strength=alarm.strength,
        count=alarm.n,
        cause=alarm.cause,
        culprits=alarm.culprits,
        examples=None if alarm.examples is None else tuple(alarm.examples),
        note=log.note(alarm, now),
    )
