"""The role `ingest`: what becomes of records of a source, where it begins, and what it tells."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from structlog.testing import capture_logs

from stream_app.core.reading.completeness import Completeness, read_completeness
from stream_app.core.scoring.dead_letter import FailureContext
from stream_app.core.scoring.event_clock import EVENTS_NEEDED
from stream_app.errors import TopicsError
from stream_app.headers import SOURCE
from stream_app.kafka.partitioner import PLACED_BY_KEY
from stream_app.pipeline import Pipeline
from stream_app.records import Failure, InputPartition, Output, Record
from stream_app.sources import Epoch, Source
from stream_app.worker.processor import HELD, WaitReason
from stream_app.worker.roles.ingest_processor import (
    PROGRESS_RECORDS,
    IngestLimits,
    IngestProcessor,
    IngestServices,
    feeds_of,
)
from stream_app.worker.roles.ingest_state import SourceState, read_states, state_key
from stream_app.worker.roles.source_alignment import SourceAlignment
from tests.small_pipeline import NOW, small_pipeline

ORDERS = InputPartition("shop.orders", 2)
TARGETS = 3
HOUR = timedelta(hours=1)
YEAR_MS = 365 * 86_400_000


def attached(**changes: Any) -> Pipeline:
    """Return a pipeline with a source of events and one of labels."""
    declared = {
        "topic": "shop.orders",
        "name": "orders",
        "start": "earliest",
        "fields": {"id": "order.id", "at": Epoch("ts", "s")},
        "where": lambda record: record["kind"] == "order",
    }
    verdicts = Source(topic="shop.verdicts", name="verdicts", start="earliest")
    label = replace(small_pipeline().label, idle_after=HOUR, sources=(verdicts,))
    return small_pipeline(sources=(Source(**{**declared, **changes}),), label=label)


class FakeReader:
    """Reader of a changelog in memory, and of a partition from `low` to `high`."""

    def __init__(self, changelog: Iterable[Output] = (), low: int = 0, high: int = 100) -> None:
        self.changelog = [(one.key, one.value) for one in changelog]
        self.low, self.high = low, high
        self.parts = 4
        self.topic_id: str | None = "first"

    def read_stable(self, topic: str, partition: int) -> list[tuple[bytes | None, bytes | None]]:
        assert (topic, partition) == ("payments.ingest.state", 0)
        return self.changelog

    def ends(self, source: InputPartition) -> tuple[int, int]:
        return self.low, self.high

    def partition_count(self, topic: str) -> int:
        return TARGETS if topic.startswith("payments.") else self.parts

    def offset_since(self, source: InputPartition, since: int) -> int:
        return 40 if since == NOW else 0


def quiet_guard() -> Any:
    """Return a guard of a worker without poison records."""
    return SimpleNamespace(
        ready=len,
        process=lambda records, work, reject: work(records),
        checks_all=False,
        journaled=lambda topic, records: records,
        committed=lambda positions: None,
    )


def quiet_services(
    pipeline: Pipeline, reader: Any, limits: IngestLimits, alignment: SourceAlignment
) -> IngestServices:
    """Return the services of a worker that reports nothing and knows all schemas."""
    reporter: Any = SimpleNamespace(due=lambda *_: [], export=lambda *_: None)
    schemas: Any = SimpleNamespace(ready=lambda records: (len(records), {}))
    return IngestServices(
        feeds_of(pipeline),
        reader,
        schemas,
        reporter,
        FailureContext("payments.ingest", "", "f", "1"),
        limits,
        alignment,
        quiet_guard(),
        lambda topic: getattr(reader, "topic_id", None),
        now=lambda: NOW,
    )


def processor_of(
    reader: FakeReader | None = None,
    source: InputPartition = ORDERS,
    max_bytes: int = 10_000,
    accept_loss: bool = False,
    **changes: Any,
) -> IngestProcessor:
    pipeline, reader = attached(**changes), reader or FakeReader()
    services = quiet_services(
        pipeline, reader, IngestLimits(max_bytes, accept_loss), SourceAlignment(1)
    )
    return IngestProcessor(pipeline, source, services)


def order(offset: int, at: int = NOW, **changes: Any) -> Record:
    fields = {"kind": "order", "order": {"id": f"o{offset}"}, "ts": at // 1000, "amount": 1.0}
    value = orjson.dumps({**fields, **changes})
    return Record("shop.orders", 2, offset, NOW - 5, b"theirs", value, [("trace", b"t")])


def state_of(source: InputPartition, next_offset: int, parts: int = 4) -> Output:
    state = SourceState(source, EVENTS_NEEDED)
    state.next, state.first_parts = next_offset, parts
    return state.output()


def told(outputs: Iterable[Output]) -> list[Completeness]:
    """Return the progress records, which must be in every partition."""
    found = []
    for one in outputs:
        if one.topic in ("raw", "labels") and one.value is None:
            record = Record("t", one.partition, 0, 0, one.key, one.value, one.headers)
            said = read_completeness(record, 2**50)
            assert not isinstance(said, Failure), said
            found.append((one.partition, said))
    statements = [said for partition, said in found if partition == 0]
    assert sorted(partition for partition, _ in found) == sorted(
        list(range(TARGETS)) * len(statements)
    )
    return statements


def without_progress(outputs: Iterable[Output]) -> list[Output]:
    return [one for one in outputs if one.value is not None or one.topic == "raw.dlq"]


def started(processor: IngestProcessor, committed: int = -1) -> IngestProcessor:
    processor.restore({ORDERS: committed})
    return processor


# --- Records --------------------------------------------------------------------------------------


def test_records_are_forwarded_unchanged_with_the_key_and_the_origin() -> None:
    processor, sent = started(processor_of()), order(7)
    (output,) = without_progress(processor.process(ORDERS, [sent], NOW))
    assert output == Output(
        "raw",
        PLACED_BY_KEY,
        b"o7",
        sent.value,
        [(SOURCE, f"orders/2/7/{NOW - 5}".encode()), ("trace", b"t")],
    )


def test_every_record_has_one_outcome_that_the_state_counts() -> None:
    processor = started(processor_of())
    records = [
        order(0),
        order(1, kind="quote"),
        order(2)._replace(value=None),
        order(3)._replace(value=b"{broken"),
        order(4, order={}),
        order(5, kind=None, order=None),
        order(6),
    ]
    outputs = without_progress(processor.process(ORDERS, records, NOW))
    assert [one.topic for one in outputs] == ["raw", "raw.dlq", "raw.dlq", "raw"]
    (state,) = [one for one in processor.before_commit({}, NOW) if one.topic == "ingest.state"]
    (found,) = read_states([(state.key, state.value)]).values()
    assert found["next"] == 7
    assert found["counts"] == {"forwarded": 2, "filtered": 2, "tombstone": 1}
    assert found["dead"] == {"invalid-json": 1, "missing-field": 1}


def test_dead_letters_name_the_foreign_topic_and_the_stage_and_keep_the_bytes() -> None:
    processor = started(processor_of())
    bad = order(9)._replace(value=b"{", headers=[("stream-app-source", b"forged"), ("a", b"b")])
    (letter,) = without_progress(processor.process(ORDERS, [bad], NOW))
    headers = dict(letter.headers)
    assert (letter.topic, letter.partition) == ("raw.dlq", 2 % TARGETS)
    assert (letter.key, letter.value) == (b"theirs", b"{")
    assert headers["stream-app-error-stage"] == b"ingest"
    assert headers["stream-app-original-topic"] == b"shop.orders"
    assert headers["stream-app-original-offset"] == b"9"
    assert headers["stream-app-source"] == f"orders/2/9/{NOW - 5}".encode()
    assert [name for name, _ in letter.headers].count("stream-app-source") == 1
    assert headers["a"] == b"b"


def test_a_record_that_is_too_large_for_the_pipeline_is_a_dead_letter() -> None:
    processor = started(processor_of(max_bytes=1000))
    records = [order(1, text="x" * 2000), order(2)]
    outputs = without_progress(processor.process(ORDERS, records, NOW))
    assert [one.topic for one in outputs] == ["raw.dlq", "raw"]
    assert processor.state.dead == {"output-too-large": 1}


# --- Start ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "offset"),
    [("earliest", 10), ("latest", 100), (datetime.fromtimestamp(NOW / 1000, UTC), 40)],
)
def test_the_first_read_begins_where_the_declaration_says(start: Any, offset: int) -> None:
    reader = FakeReader([state_of(InputPartition("shop.orders", 0), 5)], low=10)
    processor = processor_of(reader, start=start)
    assert processor.restore({ORDERS: -1}) == {ORDERS: offset}


def test_the_first_position_is_committed_before_any_record_comes() -> None:
    """Otherwise a restart would begin at a later end, and skip what came in between."""
    processor = started(processor_of(start="latest"))
    assert processor.idle(NOW, at_end=True)
    (state,) = [one for one in processor.before_commit({}, NOW) if one.topic == "ingest.state"]
    assert orjson.loads(state.value or b"")["next"] == 100


def test_added_partitions_begin_at_their_first_record() -> None:
    reader = FakeReader([state_of(InputPartition("shop.orders", 0), 5, parts=2)], low=0)
    with capture_logs() as lines:
        assert processor_of(reader, start="latest").restore({ORDERS: -1}) == {ORDERS: 0}
    (line,) = lines
    assert (line["event"], line["partition"]) == ("a source has a new partition", "shop.orders[2]")
    with capture_logs() as lines:
        known = InputPartition("shop.orders", 1)
        processor_of(reader, known).restore({known: -1})
    assert lines == []


def test_new_fields_of_forwarded_records_are_named_in_the_log() -> None:
    processor = started(processor_of())
    with capture_logs() as lines:
        for offset in range(60):
            processor.process(ORDERS, [order(offset)], NOW + 1000 * offset)
        # No event, too large to be forwarded, and one that is.
        processor.process(ORDERS, [order(60, kind="quote", odd=1)], NOW + 60_000)
        processor.process(ORDERS, [order(61, text="x" * 20_000)], NOW + 61_000)
        assert lines == []
        processor.process(ORDERS, [order(62, channel="web"), order(63, kind="quote")], NOW + 62_000)
    (line,) = lines
    assert (line["source"], line["new"]) == ("orders", ["channel: string"])
    assert line["record"] == "shop.orders[2]@62"


@pytest.mark.parametrize(("committed", "stored", "offset"), [(30, 20, 30), (-1, 20, 20)])
def test_later_reads_continue_at_the_committed_offset_or_that_of_the_state(
    committed: int, stored: int, offset: int
) -> None:
    reader = FakeReader([state_of(ORDERS, stored)])
    assert processor_of(reader).restore({ORDERS: committed}) == {ORDERS: offset}


@pytest.mark.parametrize(("low", "high"), [(50, 100), (0, 20)])
def test_a_partition_with_lost_records_waits_until_that_is_accepted(low: int, high: int) -> None:
    reader = FakeReader([state_of(ORDERS, 30)], low=low, high=high)
    waiting = processor_of(reader)
    assert waiting.restore({ORDERS: 30}) == {ORDERS: HELD}
    assert waiting.waiting_for is WaitReason.SOURCE
    assert waiting.state.alarms.open == ["source-held"]
    assert told(waiting.idle(NOW, at_end=False)) == []
    assert waiting.state.next == 30
    for accepting in (
        processor_of(reader, on_loss="continue"),
        processor_of(reader, accept_loss=True),
    ):
        assert accepting.restore({ORDERS: 30}) == {ORDERS: low}
        assert accepting.state.alarms.open == ["source-records-lost"]
        assert accepting.state.counts["lost"] == max(0, low - 30)
        assert accepting.waiting_for is None


@pytest.mark.parametrize(("low", "high"), [(0, 30), (0, 100), (0, 20), (50, 100)])
def test_a_recreated_topic_is_recognised_however_many_records_it_has(low: int, high: int) -> None:
    reader = FakeReader()
    first = started(processor_of(reader))
    first.process(ORDERS, [order(n) for n in range(30)], NOW)
    (*_, state) = first.before_commit({}, NOW)
    reader.topic_id, reader.low, reader.high = "second", low, high
    for action in (lambda: first.look(NOW, ()), lambda: first.before_commit({}, NOW)):
        with pytest.raises(TopicsError, match=r"shop\.orders was recreated"):
            action()
    reader.changelog = [(state.key, state.value)]
    waiting = processor_of(reader)
    assert waiting.restore({ORDERS: 30}) == {ORDERS: HELD}
    assert waiting.state.topic_id == "first"
    waiting.look(NOW, ())
    accepting = processor_of(reader, on_loss="continue")
    assert accepting.restore({ORDERS: 30}) == {ORDERS: low}
    # Nobody knows how many records of the old topic were unread.
    assert (accepting.state.topic_id, accepting.state.counts["lost"]) == ("second", 0)
    accepting.look(NOW, ())


def test_a_topic_whose_id_is_unknown_is_the_same_one() -> None:
    reader = FakeReader()
    first = started(processor_of(reader))
    first.process(ORDERS, [order(0)], NOW)
    (*_, state) = first.before_commit({}, NOW)
    reader.topic_id, reader.changelog = None, [(state.key, state.value)]
    second = started(processor_of(reader), 1)
    second.look(NOW, ())
    assert second.state.topic_id == "first"


def test_the_state_survives_a_restart() -> None:
    first = started(processor_of())
    first.process(ORDERS, [order(n, NOW - 1000 * n) for n in range(20)], NOW)
    outputs = first.before_commit({}, NOW)
    second = started(processor_of(FakeReader(outputs[-1:])), 20)
    assert second.state.output() == first.state.output()
    assert state_key(ORDERS) == outputs[-1].key


# --- Progress -------------------------------------------------------------------------------------


def test_the_watermark_is_passed_on_at_most_once_a_second_and_on_changes_only() -> None:
    processor = started(processor_of(FakeReader([state_of(InputPartition("x", 0), 1)])))
    (first,) = told(processor.idle(NOW, at_end=False))
    assert first == Completeness("orders", None, 2, 4, "open")
    times = [NOW - 60_000 + 1000 * number for number in range(EVENTS_NEEDED)]
    processor.process(ORDERS, [order(n, at) for n, at in enumerate(times)], NOW)
    assert told(processor.before_commit({}, NOW + 999)) == []
    assert told(processor.before_commit({}, NOW + 1000)) == [first._replace(until=times[0])]
    assert told(processor.idle(NOW + 9000, at_end=True)) == []
    processor.process(ORDERS, [order(50, times[-1] + 1000)], NOW + 9000)
    assert told(processor.before_commit({}, NOW + 9000)) == [first._replace(until=times[1])]


def test_a_partition_is_idle_after_that_time_at_its_end_and_open_with_its_next_record() -> None:
    processor = started(processor_of(FakeReader([state_of(InputPartition("x", 0), 1)])))
    told(processor.idle(NOW, at_end=True))
    at, commits = NOW, []
    while processor.state.clock.idle_ms < 3_600_000:
        at += 10_000
        processor.look(at, [ORDERS])
        outputs = processor.idle(at, at_end=True)
        if outputs:
            commits.append(told(outputs))
            processor.before_commit({}, at)
    assert commits[-1] == [Completeness("orders", None, 2, 4, "idle")]
    assert not any(commits[:-1])
    assert 40 <= len(commits) <= 61
    outputs = processor.process(ORDERS, [order(0)], at + 5000)
    assert told(outputs[:TARGETS]) == [Completeness("orders", None, 2, 4, "open")]
    assert outputs[TARGETS:] == without_progress(outputs)


def test_scorers_know_of_the_other_partitions_before_they_see_a_record() -> None:
    processor = started(processor_of(FakeReader([state_of(InputPartition("x", 0), 1)])))
    outputs = processor.process(ORDERS, [order(0), order(1)], NOW)
    assert told(outputs[:TARGETS]) == [Completeness("orders", None, 2, 4, "open")]
    assert outputs[TARGETS:] == without_progress(outputs)
    assert told(processor.process(ORDERS, [order(2)], NOW)) == []


def test_progress_is_told_more_often_in_a_back_fill() -> None:
    processor = started(processor_of())
    enough = PROGRESS_RECORDS * TARGETS
    records = [order(number, NOW - YEAR_MS + number * 1000) for number in range(enough)]
    first, *others = records
    told(processor.process(ORDERS, [first], NOW))
    assert told(processor.process(ORDERS, others[:-1], NOW)) == []
    (said,) = told(processor.process(ORDERS, others[-1:], NOW))
    assert said.until is not None
    assert said.until > NOW - YEAR_MS
    assert told(processor.before_commit({}, NOW)) == []


def test_the_very_first_progress_announces_the_other_sources_of_the_same_topic() -> None:
    """They hold the clock from the start, although their worker has not said anything yet."""
    pipeline = attached()
    refunds = Source(topic="shop.refunds", name="refunds", start="earliest")
    pipeline = replace(pipeline, sources=(*pipeline.sources, refunds))
    processor = processor_of()
    feeds: Mapping[str, Any] = feeds_of(pipeline)
    processor._services = processor._services._replace(feeds=feeds)
    started(processor)
    assert told(processor.idle(NOW, at_end=False)) == [
        Completeness("refunds", None, 0, 4, "open"),
        Completeness("orders", None, 2, 4, "open"),
    ]
