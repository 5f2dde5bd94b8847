"""The life of an alarm, and its state by acknowledgements and silences."""

import json
from typing import Any

import orjson
import pytest

from stream_app.core.alarms.alarm_log import (
    Acknowledgement,
    AlarmLog,
    Silence,
    end_of_silence,
)
from stream_app.core.alarms.alarm_record import AlarmName, AlarmRecord, decode_alarm
from stream_app.core.alarms.evidence import DAY_MS, HOUR_MS
from stream_app.core.alarms.raised_alarm import QUIET_MS, OpenAlarms, RaisedAlarm
from stream_app.core.published_records import ExampleOffsets
from stream_app.records import Output
from tests.learning import fits

START = 1_772_344_800_000  # 2026-03-01T06:00Z
ID = "label-flips/labels/2026-03-01T06:00Z"
NAMES: tuple[AlarmName, ...] = ("label-flips", "event-volume")
NOW = START + 400 * DAY_MS


def raised(at: int = START, strength: float = 2.0, **changes: Any) -> RaisedAlarm:
    first = RaisedAlarm(
        "label-flips", "labels", at, at - HOUR_MS, strength, "flipped", ExampleOffsets(3, 9)
    )
    return first._replace(**changes)


def opened(**changes: Any) -> AlarmRecord:
    return raised(**changes).opened()


def log_of(*outputs: Output) -> AlarmLog:
    return AlarmLog.of((one.key, one.value) for one in outputs)


def acknowledgement(id_: str = ID) -> Output:
    return Acknowledgement(id_, "2026-03-01T07:00:00.000+00:00", "ann@bank", "asked").output()


def silence(source: str | None = None, until: int = NOW + DAY_MS) -> Silence:
    return Silence("label-flips", source, until, "2026-03-01T07:00:00", "bob@bank", "a strike")


def test_an_alarm_is_opened_updated_and_closed_with_one_id() -> None:
    alarms = OpenAlarms()
    found = [
        alarms.add(raised()),
        alarms.add(raised(START + DAY_MS, 5.0, cause="other", examples=None)),
        alarms.add(raised(START + 2 * DAY_MS, 3.0)),
    ]
    assert alarms.pass_time(NAMES, START + 2 * DAY_MS + QUIET_MS - 1) == []
    assert alarms.pass_time(("event-volume",), START + 2 * DAY_MS + QUIET_MS) == []
    found += alarms.pass_time(NAMES, START + 2 * DAY_MS + QUIET_MS)
    assert [(one.id, one.since, one.cause, one.examples) for one in found] == [
        (ID, START - HOUR_MS, "flipped", (3, 9))
    ] * 4
    assert [(one.n, one.strength, one.updated_at - START, one.closed_at) for one in found] == [
        (1, 2.0, 0, None),
        (2, 5.0, DAY_MS, None),
        (3, 5.0, 2 * DAY_MS, None),
        (3, 5.0, 2 * DAY_MS, START + 2 * DAY_MS + QUIET_MS),
    ]
    assert not alarms.is_open("labels", "label-flips")
    assert alarms.pass_time(NAMES, START + 30 * DAY_MS) == []
    assert alarms.add(raised(START + 30 * DAY_MS)).id == "label-flips/labels/2026-03-31T06:00Z"


def test_open_alarms_continue_from_their_state() -> None:
    alarms, restored = OpenAlarms(), OpenAlarms()
    alarms.add(raised())
    alarms.add(raised(name="input-drift", source="inputs", examples=None, culprits=("fare",)))
    restored.restore(orjson.loads(orjson.dumps(alarms.state())))
    assert restored.records() == alarms.records()
    assert restored.pass_time(NAMES, START + QUIET_MS) == alarms.pass_time(NAMES, START + QUIET_MS)


@pytest.mark.parametrize(
    ("alarm", "pages"),
    [
        (opened(), True),
        (opened(name="input-drift", examples=None, culprits=("a", "b")), False),
        (opened()._replace(closed_at=START + QUIET_MS), True),
    ],
)
def test_a_record_has_the_documented_fields_and_is_read_back(
    alarm: AlarmRecord, pages: bool
) -> None:
    output = alarm.output("p")
    assert (output.topic, output.key) == ("alarms", alarm.id.encode())
    fields = orjson.loads(output.value or b"")
    assert fits("alarm", fields)
    assert fields["pages"] is pages
    assert decode_alarm(output.value) == alarm


@pytest.mark.parametrize(
    "change",
    [
        {"opened_at": "soon"},
        {"n": True},
        {"closed_at": 1.5},
        {"strength": None},
        {"culprits": [1]},
        {"culprits": 5},
        {"examples": [1, 2]},
        {"source": None},
        {"id": "another"},
    ],
    ids=str,
)
def test_a_damaged_record_is_no_alarm(change: dict[str, Any]) -> None:
    fields = orjson.loads(opened().output("p").value or b"") | change
    assert decode_alarm(orjson.dumps(fields)) is None


def test_the_state_of_an_alarm() -> None:
    alarm = opened()
    record = alarm.output("p")
    closed = alarm._replace(closed_at=START + QUIET_MS)
    for outputs, expected in (
        ([record], "open"),
        ([record, acknowledgement()], "acknowledged"),
        # The order of records with different keys has no meaning.
        ([acknowledgement(), record], "acknowledged"),
        ([record, acknowledgement("label-flips/labels/2026-02-01T06:00Z")], "open"),
        ([record, silence().output()], "silenced"),
        ([record, silence("labels").output()], "silenced"),
        ([record, silence("bank").output()], "open"),
        ([record, silence(until=NOW).output()], "open"),
        ([record, silence().output(), end_of_silence(silence())], "open"),
        ([record, silence().output(), end_of_silence(silence("labels"))], "silenced"),
        ([record, silence().output(), acknowledgement()], "acknowledged"),
        ([record, acknowledgement(), closed.output("p")], "closed"),
    ):
        assert log_of(*outputs).state(decode_last(outputs, alarm), NOW) == expected, outputs


def decode_last(outputs: list[Output], alarm: AlarmRecord) -> AlarmRecord:
    return log_of(*outputs).alarms[alarm.id]


def test_further_evidence_leaves_an_alarm_acknowledged_and_a_new_one_is_open() -> None:
    alarms = OpenAlarms()
    log = log_of(alarms.add(raised()).output("p"), acknowledgement())
    again = alarms.add(raised(START + DAY_MS))
    log.add(again.id.encode(), again.output("p").value)
    assert [log.state(one, NOW) for one in log.open()] == ["acknowledged"]
    (closed,) = alarms.pass_time(NAMES, START + DAY_MS + QUIET_MS)
    log.add(closed.id.encode(), closed.output("p").value)
    assert log.open() == []
    new = alarms.add(raised(START + 20 * DAY_MS))
    log.add(new.id.encode(), new.output("p").value)
    assert [log.state(one, NOW) for one in log.open()] == ["open"]


def test_a_silence_ends_by_itself_and_says_who_gave_it() -> None:
    log = log_of(opened().output("p"), silence().output(), silence("labels", NOW + 5).output())
    (alarm,) = log.open()
    assert log.note(alarm, NOW) == "until 2027-04-06T06:00 by bob@bank: a strike"
    assert [log.state(alarm, NOW + later) for later in (0, 5, DAY_MS - 1, DAY_MS)] == [
        "silenced",
        "silenced",
        "silenced",
        "open",
    ]
    assert log.note(alarm, NOW + DAY_MS) == ""


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"k", b"nonsense"),
        (None, b"{}"),
        (b"\xff", b"[]"),
        (b"silence/event-volume", b"{}"),
        (b"silence/event-volume", json.dumps(silence()._asdict() | {"until": "x"}).encode()),
        (b"acknowledgement/x", b"[1]"),
        (b"acknowledgement/x", b'{"alarm": 1, "at": "", "who": "", "why": ""}'),
    ],
)
def test_an_unreadable_record_changes_nothing(key: bytes | None, value: bytes) -> None:
    log = log_of(opened().output("p"))
    log.add(key, value)
    assert log.unreadable == 1
    assert [log.state(one, NOW) for one in log.open()] == ["open"]


def test_nothing_differs_between_a_log_and_the_monitor_that_wrote_it() -> None:
    alarms = OpenAlarms()
    log = log_of(alarms.add(raised()).output("p"), alarms.add(raised(START + 5)).output("p"))
    assert log.differences(alarms.records()) == []


def test_a_monitor_that_lost_its_state_closes_what_it_does_not_know() -> None:
    log = log_of(opened().output("p"))
    (closed,) = log.differences([])
    assert closed == opened()._replace(closed_at=START)
    log.add(closed.id.encode(), closed.output("p").value)
    assert log.differences([]) == []
    # The same logs give the same alarm again.
    assert log.differences([opened()]) == [opened()]


def test_a_monitor_writes_its_open_alarms_to_a_lost_topic() -> None:
    assert AlarmLog().differences([opened()]) == [opened()]
