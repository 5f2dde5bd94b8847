"""Alarms, acknowledgements and silences, as the records of `<p>.alarms` have them.

The monitor writes alarms and the states of detectors, commands write the others. Each has a key of
its own.
"""

from collections.abc import Iterable
from typing import Literal, NamedTuple, get_args

import orjson

from stream_app.core.alarms.alarm_record import AlarmRecord, decode_alarm
from stream_app.formatting import iso_time
from stream_app.records import Output

AlarmState = Literal["open", "acknowledged", "silenced", "closed"]
OPEN_STATES: tuple[AlarmState, ...] = ("open", "acknowledged", "silenced")
DetectorPhase = Literal["waits", "off", "bets"]
_ACKNOWLEDGEMENT = "acknowledgement/"
_DETECTOR = "detector/"
_SILENCE = "silence/"


class DetectorState(NamedTuple):
    """Readiness of an alarm, written when it changes, at most once a day of the log.

    Attributes:
        name: name of the alarm.
        source: what it is about.
        phase: `bets` if it can be raised, `waits` if not yet, `off` if not with these labels.
        why: reason, "" if it bets.
    """

    name: str
    source: str
    phase: DetectorPhase
    why: str = ""

    @property
    def key(self) -> str:
        """Key of its record."""
        return f"{_DETECTOR}{self.name}/{self.source}"

    def output(self) -> Output:
        """Return the record to write."""
        return Output("alarms", 0, self.key.encode(), orjson.dumps(self._asdict()))


class Acknowledgement(NamedTuple):
    """Note that somebody has an alarm in hand.

    Attributes:
        alarm: id of the alarm.
        at: ISO 8601.
        who: user@host.
        why: reason given.
    """

    alarm: str
    at: str
    who: str
    why: str

    def output(self) -> Output:
        """Return the record to write."""
        key = f"{_ACKNOWLEDGEMENT}{self.alarm}"
        return Output("alarms", 0, key.encode(), orjson.dumps(self._asdict()))


class Silence(NamedTuple):
    """Time in which alarms of a name call nobody.

    Attributes:
        name: name of the alarms.
        source: their source, None for all.
        until: end by the wall clock, in Unix milliseconds.
        at: ISO 8601.
        who: user@host.
        why: reason given.
    """

    name: str
    source: str | None
    until: int
    at: str
    who: str
    why: str

    def covers(self, alarm: AlarmRecord, now: int) -> bool:
        """Return True if it silences an alarm at a wall-clock time in Unix milliseconds."""
        is_meant = self.name == alarm.name and self.source in (None, alarm.source)
        return is_meant and now < self.until

    def output(self) -> Output:
        """Return the record to write."""
        key = silence_key(self.name, self.source)
        return Output("alarms", 0, key.encode(), orjson.dumps(self._asdict()))


class AlarmLog:
    """Newest alarms, acknowledgements and silences of a pipeline.

    Attributes:
        alarms: alarms by id, open and closed ones, in the order of their first records.
        acknowledgements: by the id of their alarms.
        silences: by `silence_key`, also those that have ended by themselves.
        detectors: whether alarms can be raised yet, by key.
        unreadable: number of records that are none of these.
    """

    def __init__(self) -> None:
        self.alarms: dict[str, AlarmRecord] = {}
        self.acknowledgements: dict[str, Acknowledgement] = {}
        self.silences: dict[str, Silence] = {}
        self.detectors: dict[str, DetectorState] = {}
        self.unreadable = 0

    @classmethod
    def of(cls, records: Iterable[tuple[bytes | None, bytes | None]]) -> "AlarmLog":
        """Return the log of records, given by key and value in their order."""
        log = cls()
        for key, value in records:
            log.add(key, value)
        return log

    def add(self, key: bytes | None, value: bytes | None) -> None:
        """Add a record."""
        name = (key or b"").decode("utf-8", "replace")
        if value is None:
            for known in (self.alarms, self.silences, self.detectors):
                known.pop(name, None)
            self.acknowledgements.pop(name.removeprefix(_ACKNOWLEDGEMENT), None)
        elif name.startswith(_ACKNOWLEDGEMENT):
            acknowledgement = _acknowledgement(value)
            if acknowledgement is None:
                self.unreadable += 1
            else:
                self.acknowledgements[acknowledgement.alarm] = acknowledgement
        elif name.startswith(_DETECTOR):
            detector = _detector(value)
            if detector is None:
                self.unreadable += 1
            else:
                self.detectors[name] = detector
        elif name.startswith(_SILENCE):
            silence = _silence(value)
            if silence is None:
                self.unreadable += 1
            else:
                self.silences[name] = silence
        else:
            alarm = decode_alarm(value)
            if alarm is None:
                self.unreadable += 1
            else:
                self.alarms[alarm.id] = alarm

    def open(self) -> list[AlarmRecord]:
        """Return the alarms that are open, the oldest first."""
        found = (one for one in self.alarms.values() if one.is_open)
        return sorted(found, key=lambda one: (one.opened_at, one.id))

    def silence_of(self, alarm: AlarmRecord, now: int) -> Silence | None:
        """Return the silence of an alarm that ends last, None without one; `now` is wall clock."""
        covering = [one for one in self.silences.values() if one.covers(alarm, now)]
        return max(covering, key=lambda one: one.until, default=None)

    def state(self, alarm: AlarmRecord, now: int) -> AlarmState:
        """Return the state of an alarm; `now` is the wall clock in Unix milliseconds."""
        if not alarm.is_open:
            return "closed"
        if alarm.id in self.acknowledgements:
            return "acknowledged"
        return "open" if self.silence_of(alarm, now) is None else "silenced"

    def note(self, alarm: AlarmRecord, now: int) -> str:
        """Return who acknowledged or silenced an open alarm, and why; empty for neither."""
        state = self.state(alarm, now)
        if state == "acknowledged":
            _, at, who, why = self.acknowledgements[alarm.id]
            return f"by {who} at {at[:16]}: {why}"
        silence = self.silence_of(alarm, now)
        if state != "silenced" or silence is None:
            return ""
        return f"until {iso_time(silence.until)[:16]} by {silence.who}: {silence.why}"

    def differences(self, known: Iterable[AlarmRecord]) -> list[AlarmRecord]:
        """Return the records that make the open alarms of the log those that a monitor knows.

        Both are the same unless the state or the log was lost, or alarms are no longer declared.
        An open alarm that the monitor does not know is closed at its last evidence.
        """
        expected = {one.id: one for one in known}
        forgotten = [
            one._replace(closed_at=one.updated_at) for one in self.open() if one.id not in expected
        ]
        return forgotten + [one for id_, one in expected.items() if self.alarms.get(id_) != one]


def is_detector_state(record: Output) -> bool:
    """Return True for the record of a `DetectorState`."""
    return (record.key or b"").startswith(_DETECTOR.encode())


def silence_key(name: str, source: str | None) -> str:
    """Return the key of a silence.

    >>> silence_key("event-volume", None), silence_key("label-flips", "bank")
    ('silence/event-volume', 'silence/label-flips/bank')
    """
    return f"{_SILENCE}{name}" if source is None else f"{_SILENCE}{name}/{source}"


def end_of_silence(silence: Silence) -> Output:
    """Return the record that ends a silence before its time."""
    return Output("alarms", 0, silence_key(silence.name, silence.source).encode(), None)


def _acknowledgement(value: bytes) -> Acknowledgement | None:
    try:
        found = Acknowledgement(**orjson.loads(value))
    except (ValueError, TypeError):
        return None
    return found if all(type(text) is str for text in found) else None


def _detector(value: bytes) -> DetectorState | None:
    try:
        found = DetectorState(**orjson.loads(value))
    except (ValueError, TypeError):
        return None
    is_valid = all(type(text) is str for text in found) and found.phase in get_args(DetectorPhase)
    return found if is_valid else None


def _silence(value: bytes) -> Silence | None:
    try:
        found = Silence(**orjson.loads(value))
    except (ValueError, TypeError):
        return None
    texts = (found.name, found.source or "", found.at, found.who, found.why)
    is_valid = all(type(text) is str for text in texts) and type(found.until) is int
    return found if is_valid else None
