"""The monitor role reports each window exactly once, whatever crashes, over an in-memory log."""

import random
from datetime import timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from stream_app.core.examples import Example
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
    """Return a log with a scored record a minute, every third with a label after half an hour."""
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


class MonitorDriver:
    """Drives one monitor at a time like a partition task."""

    def __init__(self, log: MemoryLog) -> None:
        self.log = log
        self.committed = dict.fromkeys(INPUTS, -1)
        self.now = 1_700_000_000_000

    def start(self) -> None:
        self.processor = MonitorProcessor(DECLARED, self.log, SchemaCache(None))
        offsets = self.processor.restore(self.committed)
        self.position = {source: max(offset, 0) for source, offset in offsets.items()}

    def unread(self, source: InputPartition) -> list[Any]:
        records = self.log.topics.get(f"{source.topic}/{source.partition}", [])
        return [record for record in records if record.offset >= self.position[source]]

    def transaction(
        self, source: InputPartition | None, size: int = 50, *, crash: bool = False
    ) -> list[Output]:
        """Process records of one input, or an idle call, then commit unless it crashes first."""
        self.now += 1000
        records = self.unread(source)[:size] if source else []
        # The task calls `idle` only when every input has been read to its end.
        if source and not records:
            return []
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


def coverage(driver: MonitorDriver) -> dict[int, float]:
    return {
        one["window"]["start"] // HOUR: round(one["value"], 9)
        for one in driver.reports()
        if one["kind"] == "coverage"
    }


def test_reading_partition_after_partition_reports_the_same_as_live_reading() -> None:
    driver = MonitorDriver(filled(20))
    driver.start()
    for source in INPUTS:
        while driver.unread(source):
            driver.transaction(source)
    assert coverage(driver) == {hour: round(1 / 3, 9) for hour in range(7)}


def test_at_the_end_of_all_inputs_every_window_is_closed() -> None:
    driver = MonitorDriver(filled(20))
    del driver.log.topics["p.examples/0"]
    driver.start()
    for source in SCORED:
        while driver.unread(source):
            driver.transaction(source)
    assert coverage(driver) == {}
    driver.transaction(None)
    assert coverage(driver) == dict.fromkeys(range(7), 0.0)


def test_an_input_without_records_for_a_minute_holds_no_window_open() -> None:
    driver = MonitorDriver(filled(20))
    del driver.log.topics["p.examples/0"]
    driver.start()
    for source in SCORED:
        driver.transaction(source, size=580)
    assert coverage(driver) == {}
    driver.now += QUIET_MS
    driver.transaction(SCORED[0])
    driver.transaction(SCORED[1])
    assert coverage(driver) == dict.fromkeys(range(7), 0.0)


@hypothesis_settings(max_examples=20, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(INPUTS), st.integers(1, 200), st.booleans(), st.booleans()),
        max_size=20,
    )
)
def test_every_window_is_reported_exactly_once_despite_crashes(
    steps: list[tuple[InputPartition, int, bool, bool]],
) -> None:
    driver = MonitorDriver(filled(15))
    driver.start()
    for source, size, crash, restart in steps:
        driver.transaction(source, size, crash=crash)
        if crash or restart:
            driver.start()
    while any(driver.unread(source) for source in INPUTS):
        for source in INPUTS:
            driver.transaction(source)
            driver.start()
    driver.transaction(None)
    driver.start()
    driver.transaction(None)
    found = [
        (one["kind"], one["name"], one["reference"], one["window"]["start"])
        for one in driver.reports()
    ]
    assert len(found) == len(set(found))
    assert coverage(driver) == {hour: round(1 / 3, 9) for hour in range(3)}
    volumes = [one["value"] for one in driver.reports() if one["kind"] == "volume"]
    assert volumes == [60.0] * 3


def test_the_state_is_written_with_reports_or_every_five_seconds() -> None:
    driver = MonitorDriver(filled(20))
    driver.start()
    written = []
    for _ in range(12):
        outputs = driver.transaction(SCORED[0], size=1)
        written.append(any(output.topic == "monitor.state" for output in outputs))
    assert written == [True, *[False] * 4, True, *[False] * 4, True, False]


def test_undecodable_records_are_counted() -> None:
    log = MemoryLog()
    for value in (None, b"nonsense", b"{}", b'{"event_time": "x"}', b"[]"):
        log.append("p.scored", b"k", value)
        log.append("p.examples", b"k", value)
    driver = MonitorDriver(log)
    driver.start()
    driver.transaction(SCORED[0])
    driver.transaction(EXAMPLES)
    assert driver.processor.undecodable == 10


def test_a_damaged_state_is_an_error() -> None:
    driver = MonitorDriver(MemoryLog())
    driver.log.append("p.monitor.state", b"state", b"{}")
    with pytest.raises(ModelError, match="cannot be read"):
        driver.start()
