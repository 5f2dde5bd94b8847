"""The monitor is a function of its logs, in any interleaving and whatever crashes."""

import random
from collections.abc import Callable
from functools import cache
from typing import Any

import orjson
import pytest

from stream_app.core.monitoring.partition_watermark import PartitionWatermark, window_command
from stream_app.errors import ModelError
from stream_app.worker.processor import WaitReason
from tests.learning import MemoryLog
from tests.monitor_logs import (
    DAY,
    EXAMPLES,
    START,
    WATERMARKS,
    LoggedScorer,
    MonitorReader,
    monitored_pipeline,
    of_kind,
    scored_partition,
)
from tests.small_pipeline import HOUR

PARTITIONS = 3
DECLARED = monitored_pipeline()


def write_days(
    scorers: list[LoggedScorer],
    chance: random.Random,
    days: range,
    *,
    per_day: int = 440,
    crashes: float = 0.0,
) -> None:
    """Let scorers work through days of events and labels at speeds of their own.

    Six events in a hundred are up to 18 hours late, and every other label comes an hour later.
    """
    turns: list[tuple[float, Callable[[], None]]] = []
    for scorer in scorers:
        ahead = chance.uniform(0, 2 * DAY)
        numbers = range(days.start * per_day, days.stop * per_day)
        own = [number for number in numbers if number % len(scorers) == scorer.partition]
        for start in range(0, len(own), 40):
            chunk = own[start : start + 40]
            at = START + chunk[0] * DAY // per_day
            events = [(number, _time(number, per_day, chance)) for number in chunk]
            known = [(number, time + HOUR) for number, time in events if number % 2]
            turns.append((at - ahead, _turn(scorer.events, events)))
            turns.append((at - ahead + HOUR, _turn(scorer.labels, known)))
            if chance.random() < crashes:
                turns.append((at - ahead, scorer.start))
            if chance.random() < 0.2:
                turns.append((at - ahead + chance.randrange(HOUR), scorer.idle))
    for _, turn in sorted(turns, key=lambda one: one[0]):
        turn()


def _turn(work: Callable[[Any], None], records: Any) -> Callable[[], None]:
    return lambda: work(records)


def _time(number: int, per_day: int, chance: random.Random) -> int:
    time = START + number * DAY // per_day
    return time - chance.randrange(18 * HOUR) if chance.random() < 0.06 else time


@cache
def logs() -> MemoryLog:
    """Return logs with a promotion, crashes, an idle partition and a change of the windows."""
    log, chance = MemoryLog(), random.Random(1)
    scorers = [LoggedScorer(log, DECLARED, number) for number in range(PARTITIONS)]
    for scorer in scorers:
        scorer.idle()
    write_days(scorers, chance, range(6), crashes=0.05)
    command = window_command(DAY)
    log.append(WATERMARKS.topic, command.key, command.value)
    scorers[0].model.version = 2
    # One partition has no events for a day; the others continue.
    scorers[2].idle(2 * HOUR)
    write_days(scorers[:2], chance, range(6, 7), crashes=0.05)
    for scorer in scorers:
        scorer.model.version = 2
    write_days(scorers, chance, range(7, 10), crashes=0.05)
    for scorer in scorers:
        scorer.idle()
    return log


def read(seed: int, restarts: float = 0.0) -> MonitorReader:
    return MonitorReader(logs(), DECLARED, PARTITIONS, random.Random(seed), restarts).read()


@cache
def expected() -> MonitorReader:
    return read(0)


def test_the_logs_have_what_the_tests_need() -> None:
    found = expected().found
    kinds = {(one["kind"], one["name"]) for one in found}
    assert kinds >= {
        ("volume", "scored"),
        ("volume", "late"),
        ("coverage", "label_coverage"),
        ("delay", "p50"),
        ("drift", "score"),
        ("drift", "features.amount"),
    }
    windows = [one["window"] for one in of_kind(found, "coverage")]
    assert {one["end"] - one["start"] for one in windows} == {6 * HOUR, DAY}
    assert {one["model_version"] for one in of_kind(found, "volume", "scored")} == {1, 2}
    assert any(one["reference"] == "version" for one in of_kind(found, "volume", "scored"))
    assert not any(one["breached"] for one in found)
    assert len(list(of_kind(found, "drift", "score"))) > 5


@pytest.mark.parametrize("seed", range(1, 26))
def test_any_interleaving_gives_the_same_windows(seed: int) -> None:
    reader = read(seed)
    assert reader.windows() == expected().windows()
    assert reader.alarms() == expected().alarms()


@pytest.mark.parametrize("seed", range(26, 51))
def test_any_restarts_give_the_same_windows_once(seed: int) -> None:
    reader = read(seed, restarts=0.02)
    assert reader.windows() == expected().windows()
    assert reader.alarms() == expected().alarms()


def test_each_window_counts_its_records_once() -> None:
    volumes = [
        one for one in of_kind(expected().found, "volume", "scored") if one["reference"] is None
    ]
    starts = [one["window"]["start"] for one in volumes]
    assert len(starts) == len(set(starts))
    late = sum(one["n"] for one in of_kind(expected().found, "volume", "late"))
    scored = [
        orjson.loads(record.value or b"")["event_time"]
        for number in range(PARTITIONS)
        for record in logs().topics[f"payments.scored/{number}"]
    ]
    first, last = min(starts), max(one["window"]["end"] for one in volumes)
    inside = sum(first <= time < last for time in scored)
    counted = sum(one["n"] for one in volumes)
    # Late records of the days that are not over are not reported yet.
    assert inside - late - 60 < counted <= inside - late + 60
    assert late > 20


def test_nothing_closes_while_a_partition_is_behind() -> None:
    log = MemoryLog()
    first, second = (LoggedScorer(log, DECLARED, number) for number in range(2))
    write_days([first], random.Random(2), range(6))
    second.idle()
    reader = MonitorReader(log, DECLARED, 2, random.Random(3)).read()
    assert reader.found == []
    # What is read before the slower partition begins does not depend on the faster one's speed.
    assert reader.position[scored_partition(0)] < 100
    second.idle(2 * HOUR)
    reader.read()
    assert reader.found


def test_a_partition_without_any_event_holds_nothing_back_after_an_hour() -> None:
    log = MemoryLog()
    first, second = (LoggedScorer(log, DECLARED, number) for number in range(2))
    second.idle(2 * HOUR)
    write_days([first], random.Random(2), range(6))
    assert MonitorReader(log, DECLARED, 2, random.Random(3)).read().found


def test_time_alone_closes_nothing() -> None:
    log = MemoryLog()
    scorer = LoggedScorer(log, DECLARED, 0)
    write_days([scorer], random.Random(2), range(6))
    reader = MonitorReader(log, DECLARED, 1, random.Random(3)).read()
    before = list(reader.found)
    reader.now += 30 * DAY
    reader.read()
    assert reader.found == before


def test_records_wait_for_the_watermarks_that_hold_for_them() -> None:
    log = MemoryLog()
    scorer = LoggedScorer(log, DECLARED, 0)
    scorer.idle()
    scorer.events([(number, START + number) for number in range(20)])
    reader = MonitorReader(log, DECLARED, 1, random.Random(3)).read()
    assert reader.position[scored_partition(0)] == 0
    records = reader.unread(scored_partition(0), 10)
    assert reader.processor.ready(records, START) == 0
    assert reader.processor.waiting_for is WaitReason.WATERMARK
    scorer.idle()
    reader.read()
    assert reader.position[scored_partition(0)] == 20


def test_a_monitor_that_starts_late_leaves_out_what_has_no_watermark() -> None:
    log = logs()
    cut = MemoryLog()
    cut.topics, cut.markers = dict(log.topics), log.markers
    watermarks = log.topics["payments.watermarks/0"]
    cut.topics["payments.watermarks/0"] = watermarks[len(watermarks) // 8 :]
    readers = [
        MonitorReader(cut, DECLARED, PARTITIONS, random.Random(seed)).read() for seed in range(3)
    ]
    found = [reader.windows() for reader in readers]
    assert found[0] == found[1] == found[2]
    whole = expected().windows()
    assert 0 < len(found[0]) < len(whole)
    # The first windows have a part of their records, and count late ones for longer.
    applied = readers[0].processor._monitor.windows.lengths.changes[0][0]
    volumes = [one for one in found[0] if one[2:5] == ("volume", "scored", "")]
    later = [one for one in volumes if one[0] >= applied]
    assert len(later) > 4
    assert set(later) <= set(whole)


def test_undecodable_records_are_counted() -> None:
    log = MemoryLog()
    log.append(WATERMARKS.topic, b"0", PartitionWatermark(0, START, START, 9, 9).output().value)
    for value in (None, b"nonsense", b"{}", b'{"event_time": "x"}', b"[]"):
        log.append("payments.scored", b"k", value)
        log.append(EXAMPLES.topic, b"k", value)
        log.append(WATERMARKS.topic, b"0", value)
    first = PartitionWatermark(0, START, START, 0, 0).output().value
    log.topics["payments.watermarks/0"].insert(
        0, log.topics["payments.watermarks/0"][0]._replace(value=first, offset=-1)
    )
    reader = MonitorReader(log, DECLARED, 1, random.Random(1))
    reader.position[WATERMARKS] = -1
    reader.read()
    assert reader.processor.undecodable == 15


def test_a_damaged_state_is_an_error() -> None:
    reader = MonitorReader(MemoryLog(), DECLARED, 1, random.Random(1))
    reader._state = b"{}"
    with pytest.raises(ModelError, match="cannot be read"):
        reader.start()
