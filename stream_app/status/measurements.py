"""Alarms, corrective actions and label coverage, read from `<p>.monitoring`."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import orjson
from confluent_kafka import Message

from stream_app.core.published_records import is_lasting_alarm
from stream_app.formatting import iso_time
from stream_app.kafka.offsets import OffsetBounds
from stream_app.kafka.partition_reader import PartitionReader
from stream_app.status.status_model import Alarm, CorrectiveAction, LabelStatus, ThresholdStatus
from stream_app.transfer.record_rendering import ValueDecoder

# Newest measurements of a partition that are read.
MAX_MEASUREMENTS = 20_000
# Older alarms and corrective actions are not shown.
RECENT_MS = 24 * 3_600_000

Subject = tuple[str, str, str | None, str | None]


class WrittenMeasurement(NamedTuple):
    """A measurement and the time at which it was written, in Unix milliseconds."""

    at: int
    fields: Mapping[str, Any]

    @property
    def subject(self) -> Subject:
        """Kind, name, reference and source; the reference of an event, its cause, is left out."""
        kind = self.fields["kind"]
        reference = None if kind in ("alarm", "unlearnable") else self.fields["reference"]
        return kind, self.fields["name"], reference, self.fields.get("source")

    @property
    def lasts(self) -> bool:
        """True for an alarm that lasts until its end is reported."""
        return is_lasting_alarm(self.fields)

    @property
    def momentary(self) -> bool:
        """True if it was written because of an event, False if for a window."""
        kind = self.fields["kind"]
        return kind == "unlearnable" or (kind == "alarm" and not self.lasts)


class Measurements(NamedTuple):
    """The newest measurements, the oldest first, and the number of unreadable records."""

    known: list[WrittenMeasurement]
    unreadable: int


def read_measurements(
    reader: PartitionReader, bounds: OffsetBounds, decoder: ValueDecoder
) -> Measurements:
    """Return the newest measurements; `bounds` are those of the monitoring topic."""
    newest = {
        partition_id: (max(low, end - MAX_MEASUREMENTS), end)
        for partition_id, (low, end) in bounds.items()
    }
    found = [_decode(message, decoder) for message in reader.records(newest)]
    known = [measurement for measurement in found if measurement is not None]
    return Measurements(known, len(found) - len(known))


def _decode(message: Message, decoder: ValueDecoder) -> WrittenMeasurement | None:
    """Return None for a record that is no measurement, or Avro of an unknown schema."""
    try:
        fields = orjson.loads(decoder.to_json(message) or b"")
        measurement = WrittenMeasurement(message.timestamp()[1], fields)
        numbers = fields["window"]["start"], fields["window"]["end"], fields["n"]
        complete = isinstance(fields["breached"], bool) and all(
            isinstance(number, int) for number in numbers
        )
        return measurement if complete and measurement.subject else None
    except (ValueError, KeyError, TypeError):
        return None


def alarms(measurements: Sequence[WrittenMeasurement], now: int) -> tuple[Alarm, ...]:
    """Return one alarm per subject with a recent breach, ongoing ones first, then the newest.

    Breaches of `performance` windows are left out, because lasting alarms report them.

    Args:
        measurements: the oldest first.
        now: Unix milliseconds.
    """
    newest = {measurement.subject: measurement for measurement in measurements}
    breaches: dict[Subject, list[WrittenMeasurement]] = {}
    for measurement in measurements:
        recent = measurement.at > now - RECENT_MS and measurement.fields["kind"] != "performance"
        if measurement.fields["breached"] and recent:
            breaches.setdefault(measurement.subject, []).append(measurement)
    found = [_alarm(of_subject, newest[subject]) for subject, of_subject in breaches.items()]
    by_time = sorted(found, key=lambda alarm: alarm.at, reverse=True)
    return tuple(sorted(by_time, key=lambda alarm: not alarm.ongoing))


def _alarm(breaches: list[WrittenMeasurement], newest: WrittenMeasurement) -> Alarm:
    at, last = breaches[-1]
    window_end = newest.fields["window"]["end"] if newest.lasts else last["window"]["end"]
    return Alarm(
        kind=last["kind"],
        name=last["name"],
        reference=last["reference"],
        value=last["value"],
        threshold=last["threshold"],
        at=iso_time(at),
        window_start=iso_time(last["window"]["start"]),
        window_end=iso_time(window_end),
        count=last["n"] if breaches[-1].lasts else len(breaches),
        ongoing=None if breaches[-1].momentary else newest.fields["breached"],
        source=last.get("source"),
    )


def corrective_actions(
    measurements: Sequence[WrittenMeasurement], now: int
) -> tuple[CorrectiveAction, ...]:
    """Return the recent corrective actions by action and cause, the newest first.

    Args:
        measurements: in any order.
        now: Unix milliseconds.
    """
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


def threshold_statuses(
    measurements: Sequence[WrittenMeasurement],
) -> tuple[ThresholdStatus, ...]:
    """Return the metrics whose newest window has a limit, in the order of their names.

    Args:
        measurements: the oldest first.
    """
    newest = {
        fields["name"]: fields
        for _, fields in measurements
        if fields["kind"] == "performance" and fields["reference"] is None
    }
    return tuple(
        _threshold_status(fields)
        for _, fields in sorted(newest.items())
        if fields["threshold"] is not None
    )


def _threshold_status(fields: Mapping[str, Any]) -> ThresholdStatus:
    interval = fields.get("interval") or {}
    return ThresholdStatus(
        metric=fields["name"],
        value=fields["value"],
        low=interval.get("low"),
        high=interval.get("high"),
        limit=fields["threshold"],
        breached=fields["breached"],
        n=fields["n"],
        window_end=iso_time(fields["window"]["end"]),
    )


def label_status(measurements: Sequence[WrittenMeasurement]) -> LabelStatus:
    """Return coverage and delays of the newest window whose labels have been counted."""
    covered = [
        measurement.fields
        for measurement in measurements
        if measurement.fields["kind"] == "coverage"
    ]
    if not covered:
        return LabelStatus()
    window = max(fields["window"]["end"] for fields in covered)
    coverage = next(fields["value"] for fields in covered if fields["window"]["end"] == window)
    delays = {
        measurement.fields["name"]: measurement.fields["value"]
        for measurement in measurements
        if measurement.fields["kind"] == "delay" and measurement.fields["window"]["end"] == window
    }
    return LabelStatus(
        iso_time(window), coverage, delays.get("p50"), delays.get("p95"), delays.get("max")
    )
