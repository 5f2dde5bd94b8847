"""What `<pipeline>.monitoring` has said lately: alarms, and how the labels come."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import orjson
from confluent_kafka import Message

from stream_app.clients.encoding import Decoder
from stream_app.clients.offsets import Limits
from stream_app.status.model import Alarm, LabelStatus
from stream_app.status.tail import Tail
from stream_app.status.times import iso

NEWEST = 5000  # measurements that are looked at
RECENT_MS = 24 * 3_600_000  # alarms older than that, by the time they were written, are history

_MOMENTARY = frozenset({"alarm", "unlearnable"})
"""Kinds that are written when something happens, and not for each window."""


class Written(NamedTuple):
    """A measurement and when it was written, epoch milliseconds."""

    at: int
    fields: Mapping[str, Any]

    @property
    def subject(self) -> tuple[str, str, str | None]:
        """What is measured: kind, name and, unless it tells where something happened, the reference."""
        kind, reference = self.fields["kind"], self.fields["reference"]
        return kind, self.fields["name"], None if kind in _MOMENTARY else reference


class Measurements(NamedTuple):
    """The newest measurements, oldest first, and how many records are none or cannot be read as such."""

    known: list[Written]
    unreadable: int


def read_measurements(tail: Tail, limits: Limits, decoder: Decoder) -> Measurements:
    """What the newest records of the monitoring topic say."""
    newest = {place: (max(low, end - NEWEST), end) for place, (low, end) in limits.items()}
    found = [_decode(message, decoder) for message in tail.between(newest)]
    known = [measurement for measurement in found if measurement is not None]
    return Measurements(known, len(found) - len(known))


def _decode(message: Message, decoder: Decoder) -> Written | None:
    """None for what is no measurement, for anyone may write to a topic, or is Avro whose schema is not known."""
    try:
        fields = orjson.loads(decoder.readable(message) or b"")
        measurement = Written(message.timestamp()[1], fields)
        complete = isinstance(fields["breached"], bool) and isinstance(fields["window"]["end"], int)
        return measurement if complete and measurement.subject else None
    except (ValueError, KeyError, TypeError):
        return None


def alarms(measurements: Sequence[Written], now: int) -> tuple[Alarm, ...]:
    """One alarm for each subject that was breached lately, the ongoing first, then the newest."""
    newest = {measurement.subject: measurement for measurement in measurements}
    breached: dict[tuple[str, str, str | None], list[Written]] = {}
    for measurement in measurements:
        if measurement.fields["breached"] and measurement.at > now - RECENT_MS:
            breached.setdefault(measurement.subject, []).append(measurement)
    found = [_alarm(subject, cases, newest[subject]) for subject, cases in breached.items()]
    by_time = sorted(found, key=lambda alarm: alarm.at, reverse=True)
    return tuple(sorted(by_time, key=lambda alarm: not alarm.ongoing))


def _alarm(subject: tuple[str, str, str | None], cases: list[Written], newest: Written) -> Alarm:
    kind, name, _ = subject
    at, last = cases[-1]
    return Alarm(
        kind=kind,
        name=name,
        reference=last["reference"],
        value=last["value"],
        threshold=last["threshold"],
        at=iso(at),
        window_end=iso(last["window"]["end"]),
        count=len(cases),
        ongoing=None if kind in _MOMENTARY else newest.fields["breached"],
    )


def label_status(measurements: Sequence[Written]) -> LabelStatus:
    """Coverage and delays of the newest window whose labels have been counted."""
    covered = [measurement.fields for measurement in measurements if measurement.fields["kind"] == "coverage"]
    if not covered:
        return LabelStatus()
    window = max((fields["window"]["end"] for fields in covered), default=0)
    coverage = next(fields["value"] for fields in covered if fields["window"]["end"] == window)
    delays = {
        measurement.fields["name"]: measurement.fields["value"]
        for measurement in measurements
        if measurement.fields["kind"] == "delay" and measurement.fields["window"]["end"] == window
    }
    return LabelStatus(iso(window), coverage, delays.get("p50"), delays.get("p95"), delays.get("max"))
