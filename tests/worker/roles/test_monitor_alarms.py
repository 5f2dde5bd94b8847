"""Each change of an alarm is one record, in any interleaving and whatever crashes."""

import random
from dataclasses import replace
from functools import cache

import pytest

from stream_app import Alarms
from stream_app.core.alarms.alarm_log import AlarmLog
from stream_app.core.alarms.alarm_record import AlarmRecord, decode_alarm
from tests.learning import MemoryLog
from tests.monitor_logs import DAY, START, LoggedScorer, MonitorReader, monitored_pipeline
from tests.small_pipeline import HOUR

DECLARED = replace(monitored_pipeline(), alarms=Alarms(false_per_year=300))
PARTITIONS = 2
# Start of days with few events, in the third week.
FEW = START + 15 * DAY
DAYS = 24


@cache
def logs() -> MemoryLog:
    """Return logs with two days of few events, a usual week, and a day of many events."""
    log = MemoryLog()
    scorers = [LoggedScorer(log, DECLARED, number) for number in range(PARTITIONS)]
    for scorer in scorers:
        scorer.idle()
    number = 0
    for hour in range(DAYS * 24):
        start = START + hour * HOUR
        count = 2 if FEW <= start < FEW + 2 * DAY else 20 if start >= START + 23 * DAY else 8
        events = [(number + one, start + one * HOUR // count) for one in range(count)]
        number += count
        for scorer in scorers:
            own = [one for one in events if one[0] % PARTITIONS == scorer.partition]
            scorer.events(own)
    for scorer in scorers:
        scorer.idle(2 * HOUR)
    return log


def read(seed: int, restarts: float = 0.0) -> MonitorReader:
    return MonitorReader(logs(), DECLARED, PARTITIONS, random.Random(seed), restarts).read()


def written(reader: MonitorReader) -> list[AlarmRecord]:
    found = [decode_alarm(value) for _, value in reader.alarm_log]
    return [one for one in found if one is not None]


@cache
def expected() -> list[AlarmRecord]:
    return written(read(0))


def test_the_logs_have_an_alarm_that_closes_and_one_that_stays_open() -> None:
    last = list({one.id: one for one in expected()}.values())
    assert [(one.name, one.is_open) for one in last] == [
        ("event-volume", False),
        ("event-volume", True),
    ]
    assert last[0].n > 1
    assert FEW < last[0].opened_at < FEW + DAY
    assert "0.1 times" in last[0].cause or "0.5 times" in last[0].cause


@pytest.mark.parametrize("seed", range(1, 6))
def test_any_interleaving_writes_the_same_records(seed: int) -> None:
    assert written(read(seed)) == expected()


@pytest.mark.parametrize("seed", range(6, 12))
def test_any_restarts_write_the_same_records_once(seed: int) -> None:
    assert written(read(seed, restarts=0.05)) == expected()


def test_a_lost_state_closes_what_is_open_and_writes_the_same_alarms_again() -> None:
    reader = read(1)
    lost = len(reader.alarm_log)
    reader._state = None
    reader._committed = dict.fromkeys(reader.inputs, -1)
    reader.start()
    reader.read()
    closed, *again = written(reader)[lost:]
    still_open = expected()[-1]
    assert closed == still_open._replace(closed_at=still_open.updated_at)
    assert again == expected()


def test_alarms_that_are_no_longer_declared_close() -> None:
    reader = read(1)
    reader.pipeline = replace(DECLARED, alarms=None)
    reader.start()
    reader.step(reader.inputs[0])
    assert AlarmLog.of(reader.alarm_log).open() == []
    assert written(reader)[-1].closed_at == expected()[-1].updated_at


def test_a_lost_topic_gets_the_open_alarms_once() -> None:
    reader = read(1)
    for _ in range(2):
        reader.start()
        reader.read()
        assert written(reader) == expected()
    reader.alarm_log = []
    for _ in range(2):
        reader.start()
        reader.read()
        assert written(reader) == [expected()[-1]]
