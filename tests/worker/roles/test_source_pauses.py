"""An alarm about wrong labels pauses its source once, in any interleaving and whatever crashes."""

import random
from dataclasses import replace
from functools import cache

import orjson
import pytest

from stream_app import Alarms, Source
from stream_app.core.alarms.alarm_record import AlarmName, AlarmRecord, decode_alarm
from stream_app.core.learning.control_commands import MONITOR, decode_control
from stream_app.model_store.model_registry import ModelRegistry
from stream_app.pipeline import Pipeline
from stream_app.worker.roles.source_pauses import SourcePauses
from tests.learning import MemoryLog, fits
from tests.monitor_logs import DAY, START, LoggedScorer, MonitorReader, monitored_pipeline
from tests.small_pipeline import HOUR

NOW = START + 100 * DAY
PER_HOUR = 16
DAYS = 17
FLIPPED = START + 16 * DAY


def declared(alarms: Alarms) -> Pipeline:
    pipeline = replace(monitored_pipeline(), alarms=alarms)
    sources = tuple(Source(topic=name, start="earliest") for name in ("shop", "labels", "bank"))
    return replace(pipeline, label=replace(pipeline.label, sources=sources))


DECLARED = declared(Alarms(false_per_year=100, action="pause"))


def opened(name: AlarmName = "label-flips", source: str = "shop", n: int = 1) -> AlarmRecord:
    return AlarmRecord(name, source, START, START + HOUR, START + HOUR, None, 1.5, n, "flipped")


def paused(pauses: SourcePauses, *alarms: AlarmRecord) -> list[str]:
    """Returns the sources that are paused."""
    outputs = pauses.outputs([alarm.output("payments") for alarm in alarms], NOW)
    controls = (decode_control(one.value) for one in outputs if one.topic == "examples")
    return [one.source or "" for one in controls if one is not None]


def test_a_pause_has_the_records_of_the_command_and_names_the_alarm() -> None:
    alarm = opened()
    control, annotation, audit = SourcePauses(DECLARED).outputs([alarm.output("payments")], NOW)
    found = decode_control(control.value)
    assert found is not None
    assert (found.command, found.source, found.who) == ("pause", "shop", MONITOR)
    assert found.why == f"alarm {alarm.id}: flipped since 2023-11-14T00:00Z"
    registry = ModelRegistry.of([(annotation.key, annotation.value)])
    assert (registry.rules.paused_sources, registry.paused) == (("shop",), False)
    entry = orjson.loads(audit.value or b"")
    assert fits("audit", entry)
    assert (entry["operation"], entry["who"], entry["what"], entry["why"], entry["after"]) == (
        "pause",
        MONITOR,
        "learning from shop",
        found.why,
        "paused from shop",
    )


@pytest.mark.parametrize(
    ("alarm", "expected"),
    [
        (opened(), ["shop"]),
        (opened("positive-share", "bank"), ["bank"]),
        (opened(n=2), []),
        (opened()._replace(closed_at=START + DAY), []),
        (opened("label-coverage"), []),
        (opened("event-volume"), []),
        # Of all labels without a detector of their own; a source of that name has none.
        (opened(source="labels"), []),
        (opened(source="other"), []),
    ],
)
def test_only_an_alarm_about_wrong_labels_of_a_source_pauses_it(
    alarm: AlarmRecord, expected: list[str]
) -> None:
    assert paused(SourcePauses(DECLARED), alarm) == expected
    assert paused(SourcePauses(declared(Alarms())), alarm) == []
    assert paused(SourcePauses(replace(DECLARED, alarms=None)), alarm) == []


def test_an_alarm_that_is_recorded_already_pauses_nothing() -> None:
    pauses, alarm = SourcePauses(DECLARED), opened()
    pauses.restore([alarm.id])
    later = alarm._replace(opened_at=alarm.opened_at + DAY)
    assert paused(pauses, alarm, opened(source="bank"), later) == ["bank", "shop"]


@cache
def logs() -> MemoryLog:
    """Return logs of a scorer with labels of one source, all of which are inverted on one day."""
    log, chance = MemoryLog(), random.Random(3)
    scorer = LoggedScorer(log, DECLARED, 0)
    scorer.idle()
    number = 0
    for start in range(START, START + DAYS * DAY, HOUR):
        labels, frauds = [], set()
        for time in range(start, start + HOUR, HOUR // PER_HOUR):
            amount = chance.uniform(0, 100)
            scorer.events([(number, time)], amount=amount)
            labels.append((number, time + HOUR // 2))
            if (chance.random() < amount / 100) != (time >= FLIPPED):
                frauds.add(number)
            number += 1
        scorer.labels(labels, frauds, "shop")
    scorer.idle(2 * HOUR)
    return log


def read(seed: int, restarts: float = 0.0) -> MonitorReader:
    return MonitorReader(logs(), DECLARED, 1, random.Random(seed), restarts).read()


def test_restarts_and_a_lost_state_pause_the_source_once() -> None:
    expected = read(0)
    alarms = [decode_alarm(value) for _, value in expected.alarm_log]
    assert {(one.name, one.source) for one in alarms if one is not None} == {
        ("label-flips", "shop")
    }
    for reader in (expected, read(1), read(2, restarts=0.01)):
        assert [one.topic for one in reader.decided] == ["examples", "models", "audit"]
        control = decode_control(reader.decided[0].value)
        assert control is not None
        assert control.source == "shop"
        reader._state = None
        reader._committed = dict.fromkeys(reader.inputs, -1)
        reader.start()
        reader.read()
        assert len(reader.decided) == 3


def test_a_lost_topic_of_alarms_pauses_nothing_again() -> None:
    reader = read(0)
    reader.alarm_log = []
    reader.start()
    reader.read()
    assert reader.alarm_log
    assert len(reader.decided) == 3
