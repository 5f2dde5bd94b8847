"""The monitor role over an in-memory log: each window reported exactly once, whatever crashes."""

import random
from datetime import timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from stream_app.core.example import Example
from stream_app.errors import ModelError
from stream_app.records import InputPartition, Output
from stream_app.schema_registry.schema_cache import SchemaCache
from stream_app.worker.roles.monitor_processor import QUIET_MS, MonitorProcessor
from tests.learning import FINGERPRINT, HOUR, MemoryLog, measurements, pipeline

SCORED = [InputPartition("p.scored", 0), InputPartition("p.scored", 1)]
EXAMPLES = InputPartition("p.examples", 0)
INPUTS = [*SCORED, EXAMPLES]
DECLARED = pipeline(window=timedelta(hours=1))


def filled(hours: int) -> MemoryLog:
    """A scored record a minute, every third with a label half an hour later."""
    log, chance = MemoryLog(), random.Random(hours)
    for minute in range(hours * 60):
        time = minute * 60_000
        model = {"name": "p", "version": 1}
        features = {"amount": chance.gauss(0, 1)}
        fields = {
            "event_time": time,
            "score": chance.random(),
            "model": model,
            "features": features,
        }
        log.append("p.scored", b"k", orjson.dumps(fields), partition=minute % 2)
        if minute % 3 == 0:
            one = Example("e", time, time + HOUR // 2, True, 0.5, 1, {}, FINGERPRINT)
            log.append("p.examples", b"k", one.encode())
    return log


class World:
    """One monitor at a time, driven as a partition task drives it."""

    def __init__(self, log: MemoryLog) -> None:
        self.log = log
        self.committed = dict.fromkeys(INPUTS, -1)
        self.now = 1_700_000_000_000

    def start(self) -> None:
        self.processor = MonitorProcessor(DECLARED, self.log, SchemaCache(None))
        offsets = self.processor.restore(self.committed)
        self.position = {source: max(offset, 0) for source, offset in offsets.items()}

    def left(self, source: InputPartition) -> list[Any]:
        records = self.log.topics.get(f"{source.topic}/{source.partition}", [])
        return [record for record in records if record.offset >= self.position[source]]

    def transaction(
        self, source: InputPartition | None, size: int = 50, *, crash: bool = False
    ) -> list[Output]:
        """A batch of one input, or a moment of quiet; then the commit, unless it crashes first."""
        self.now += 1000
        records = self.left(source)[:size] if source else []
        if source and not records:
            return []  # the task calls `idle` only when every input has been read to its end
        if source:
            outputs = self.processor.process(source, records, self.now)
            self.position[source] = records[-1].offset + 1
        else:
            outputs = self.processor.idle(self.now, at_end=True)
        outputs = outputs + self.processor.before_commit(dict(self.position), self.now)
        if not crash:
            self.log.write("p", outputs)
            self.committed = dict(self.position)
            self.processor.after_commit()
        return outputs

    def reports(self) -> list[dict[str, Any]]:
        records = self.log.topics.get("p.monitoring/0", [])
        return measurements(
            Output("monitoring", -1, record.key, record.value) for record in records
        )


def coverage(world: World) -> dict[int, float]:
    return {
        one["window"]["start"] // HOUR: round(one["value"], 9)
        for one in world.reports()
        if one["kind"] == "coverage"
    }


def test_catching_up_partition_after_partition_reports_what_live_reading_would() -> None:
    world = World(filled(20))
    world.start()
    for source in INPUTS:
        while world.left(source):
            world.transaction(source)
    assert coverage(world) == {hour: round(1 / 3, 9) for hour in range(7)}


def test_at_the_end_of_all_inputs_nothing_holds_a_window_open() -> None:
    world = World(filled(20))
    del world.log.topics["p.examples/0"]
    world.start()
    for source in SCORED:
        while world.left(source):
            world.transaction(source)
    assert coverage(world) == {}
    world.transaction(None)
    assert coverage(world) == dict.fromkeys(range(7), 0.0)


def test_an_input_that_is_quiet_for_a_minute_holds_nothing_open() -> None:
    world = World(filled(20))
    del world.log.topics["p.examples/0"]
    world.start()
    for source in SCORED:
        world.transaction(source, size=580)
    assert coverage(world) == {}
    world.now += QUIET_MS
    world.transaction(SCORED[0])
    world.transaction(SCORED[1])
    assert coverage(world) == dict.fromkeys(range(7), 0.0)


@hypothesis_settings(max_examples=20, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(INPUTS), st.integers(1, 200), st.booleans(), st.booleans()),
        max_size=20,
    )
)
def test_every_window_is_reported_exactly_once_whatever_crashes(
    steps: list[tuple[InputPartition, int, bool, bool]],
) -> None:
    world = World(filled(15))
    world.start()
    for source, size, crash, restart in steps:
        world.transaction(source, size, crash=crash)
        if crash or restart:
            world.start()
    while any(world.left(source) for source in INPUTS):
        for source in INPUTS:
            world.transaction(source)
            world.start()
    world.transaction(None)
    world.start()
    world.transaction(None)
    found = [
        (one["kind"], one["name"], one["reference"], one["window"]["start"])
        for one in world.reports()
    ]
    assert len(found) == len(set(found))
    assert coverage(world) == {hour: round(1 / 3, 9) for hour in range(3)}
    volumes = [one["value"] for one in world.reports() if one["kind"] == "volume"]
    assert volumes == [60.0] * 3


def test_the_state_is_written_when_something_is_reported_or_every_five_seconds() -> None:
    world = World(filled(20))
    world.start()
    written = []
    for _ in range(12):
        outputs = world.transaction(SCORED[0], size=1)
        written.append(any(output.topic == "monitor.state" for output in outputs))
    assert written == [True, *[False] * 4, True, *[False] * 4, True, False]


def test_records_that_cannot_be_read_are_counted() -> None:
    log = MemoryLog()
    for value in (None, b"nonsense", b"{}", b'{"event_time": "x"}', b"[]"):
        log.append("p.scored", b"k", value)
        log.append("p.examples", b"k", value)
    world = World(log)
    world.start()
    world.transaction(SCORED[0])
    world.transaction(EXAMPLES)
    assert world.processor.undecodable == 10


def test_a_state_that_cannot_be_read_is_refused() -> None:
    world = World(MemoryLog())
    world.log.append("p.monitor.state", b"state", b"{}")
    with pytest.raises(ModelError, match="cannot be read"):
        world.start()
