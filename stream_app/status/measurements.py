"""What `<pipeline>.monitoring` has said lately: alarms, corrective actions, and how the labels come."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import orjson
from confluent_kafka import Message

from stream_app.core.measurement import lasts
from stream_app.formatting import iso_time
from stream_app.kafka.offsets import Limits
from stream_app.status.newest_records import NewestRecords
from stream_app.status.status_model import Alarm, CorrectiveAction, LabelStatus
from stream_app.transfer.value_encoding import Decoder

NEWEST = 20_000  # measurements that are looked at
RECENT_MS = 24 * 3_600_000  # alarms older than that, by the time they were written, are history

Subject = tuple[str, str, str | None, str | None]


class WrittenMeasurement(NamedTuple):
    """A measurement and when it was written, epoch milliseconds."""

    at: int
    fields: Mapping[str, Any]

    @property
    def subject(self) -> Subject:
        """Kind, name, the reference unless it tells where or why something happened, and the source."""
        kind = self.fields["kind"]
        reference = None if kind in ("alarm", "unlearnable") else self.fields["reference"]
        return kind, self.fields["name"], reference, self.fields.get("source")

    @property
    def lasts(self) -> bool:
        """Whether it is an alarm that lasts until it is said to have ended."""
        return lasts(self.fields)

    @property
    def momentary(self) -> bool:
        """Whether it was written because something happened, and not for each window."""
        kind = self.fields["kind"]
        return kind == "unlearnable" or (kind == "alarm" and not self.lasts)


class Measurements(NamedTuple):
    """The newest measurements, oldest first, and how many records are none or cannot be read as such."""

    known: list[WrittenMeasurement]
    unreadable: int


def read_measurements(tail: NewestRecords, limits: Limits, decoder: Decoder) -> Measurements:
    """What the newest records of the monitoring topic say."""
    newest = {place: (max(low, end - NEWEST), end) for place, (low, end) in limits.items()}
    found = [_decode(message, decoder) for message in tail.between(newest)]
    known = [measurement for measurement in found if measurement is not None]
    return Measurements(known, len(found) - len(known))


def _decode(message: Message, decoder: Decoder) -> WrittenMeasurement | None:
    """None for what is no measurement, for anyone may write to a topic, or is Avro whose schema is not known."""
    try:
        fields = orjson.loads(decoder.readable(message) or b"")
        measurement = WrittenMeasurement(message.timestamp()[1], fields)
        numbers = fields["window"]["start"], fields["window"]["end"], fields["n"]
        complete = isinstance(fields["breached"], bool) and all(
            isinstance(number, int) for number in numbers
        )
        return measurement if complete and measurement.subject else None
    except (ValueError, KeyError, TypeError):
        return None


def alarms(measurements: Sequence[WrittenMeasurement], now: int) -> tuple[Alarm, ...]:
    """One alarm for each subject that was breached lately, the ongoing first, then the newest.

    What thresholds make of the windows' performance, alarms that last say.
    """
    newest = {measurement.subject: measurement for measurement in measurements}
    breached: dict[Subject, list[WrittenMeasurement]] = {}
    for measurement in measurements:
        lately = measurement.at > now - RECENT_MS and measurement.fields["kind"] != "performance"
        if measurement.fields["breached"] and lately:
            breached.setdefault(measurement.subject, []).append(measurement)
    found = [_alarm(cases, newest[subject]) for subject, cases in breached.items()]
    by_time = sorted(found, key=lambda alarm: alarm.at, reverse=True)
    return tuple(sorted(by_time, key=lambda alarm: not alarm.ongoing))


def _alarm(cases: list[WrittenMeasurement], newest: WrittenMeasurement) -> Alarm:
    at, last = cases[-1]
    return Alarm(
        kind=last["kind"],
        name=last["name"],
        reference=last["reference"],
        value=last["value"],
        threshold=last["threshold"],
        at=iso_time(at),
        window_start=iso_time(last["window"]["start"]),
        window_end=iso_time(
            newest.fields["window"]["end"] if newest.lasts else last["window"]["end"]
        ),
        count=last["n"] if cases[-1].lasts else len(cases),
        ongoing=None if cases[-1].momentary else newest.fields["breached"],
        source=last.get("source"),
    )


def corrective_actions(
    measurements: Sequence[WrittenMeasurement], now: int
) -> tuple[CorrectiveAction, ...]:
    """What was done lately, by action and cause, the newest first."""
    reports: dict[tuple[str, str | None], list[Mapping[str, Any]]] = {}
    for at, fields in measurements:
        if fields["kind"] == "corrective_action" and at > now - RECENT_MS:
            reports.setdefault((fields["name"], fields["reference"]), []).append(fields)
    by_time = sorted(
        reports.items(), key=lambda item: -max(fields["window"]["end"] for fields in item[1])
    )
    return tuple(
        CorrectiveAction(
            action=action,
            cause=cause,
            count=sum(fields["n"] for fields in found),
            since=iso_time(min(fields["window"]["start"] for fields in found)),
            until=iso_time(max(fields["window"]["end"] for fields in found)),
        )
        for (action, cause), found in by_time
    )


def label_status(measurements: Sequence[WrittenMeasurement]) -> LabelStatus:
    """Coverage and delays of the newest window whose labels have been counted."""
    covered = [
        measurement.fields
        for measurement in measurements
        if measurement.fields["kind"] == "coverage"
    ]
    if not covered:
        return LabelStatus()
    window = max((fields["window"]["end"] for fields in covered), default=0)
    coverage = next(fields["value"] for fields in covered if fields["window"]["end"] == window)
    delays = {
        measurement.fields["name"]: measurement.fields["value"]
        for measurement in measurements
        if measurement.fields["kind"] == "delay" and measurement.fields["window"]["end"] == window
    }
    return LabelStatus(
        iso_time(window), coverage, delays.get("p50"), delays.get("p95"), delays.get("max")
    )
