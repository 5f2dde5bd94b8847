"""Dead letters of `ingest` that it reads again: where they go, with which headers and counts."""

from collections.abc import Iterable
from typing import Any

import orjson
import pytest

from stream_app.core.scoring.replay_headers import replay_headers
from stream_app.dead_letters.dead_letter_reader import DeadLetter, DeadLetterRef, Origin
from stream_app.dead_letters.replay_records import EditedRecord, ReplayRoute
from stream_app.headers import (
    ERROR_STAGE,
    ORIGINAL_OFFSET,
    ORIGINAL_TOPIC,
    REPLAY_COUNT,
    REPLAY_ID,
    REPLAY_INPUT,
    REPLAY_LEARN,
    REPLAY_MODEL,
    SOURCE,
)
from stream_app.kafka.partitioner import PLACED_BY_KEY
from stream_app.records import InputPartition, Output, Record
from stream_app.sources import Coordinates, RecordKey, RecordTimestamp
from stream_app.topic_kinds import DeadLetterKind
from stream_app.worker.processor import HELD, WaitReason
from stream_app.worker.roles.ingest_processor import IngestLimits
from stream_app.worker.roles.ingest_replay_processor import IngestReplayProcessor
from stream_app.worker.roles.ingest_state import ReplayState
from stream_app.worker.roles.source_alignment import SourceAlignment
from tests.small_pipeline import NOW, label
from tests.worker.roles.test_ingest_processor import (
    ORDERS,
    FakeReader,
    attached,
    order,
    processor_of,
    quiet_services,
    started,
)

REPLAYED = InputPartition("payments.ingest.replay", 2)
REPLAY = "0123456789"


def replayer_of(
    reader: FakeReader | None = None,
    max_bytes: int = 10_000,
    accept_loss: bool = False,
    **changes: Any,
) -> IngestReplayProcessor:
    pipeline = attached(**changes)
    services = quiet_services(
        pipeline,
        reader or FakeReader(low=0),
        IngestLimits(max_bytes, accept_loss),
        SourceAlignment(1),
    )
    processor = IngestReplayProcessor(pipeline, REPLAYED, services)
    processor.restore({REPLAYED: -1})
    return processor


def rejected(record: Record, **changes: Any) -> Output:
    """Return the dead letter that ingest writes of a record of its source."""
    output = started(processor_of(**changes)).process(ORDERS, [record], NOW)[-1]
    assert output.topic == "raw.dlq"
    return output


def sent(output: Output, offset: int = 0, value: bytes | None = None, **options: Any) -> Record:
    """Return the record of a replay of a dead letter, perhaps with an edited value."""
    kind: DeadLetterKind = "labels.dlq" if output.topic == "labels.dlq" else "raw.dlq"
    ref = DeadLetterRef(kind, output.partition, 5, "id", Origin("shop.orders", 2, 7))
    dead = DeadLetter(ref, NOW, output.key, output.value, output.headers)
    chosen = {"to_source": False, "learn": True, "model": None, "partitions": 3} | options
    edited = EditedRecord(dead.key, dead.value if value is None else value)
    found = ReplayRoute(REPLAY, **chosen).output(dead, edited)
    assert found.topic == "ingest.replay"
    return Record(
        "payments.ingest.replay",
        found.partition,
        offset,
        NOW + 99,
        found.key,
        found.value,
        found.headers,
    )


def bad_order(offset: int = 7) -> Record:
    return order(offset)._replace(value=b"{broken")


def good_value(offset: int = 7, **changes: Any) -> bytes:
    return order(offset, **changes).value or b""


def process(processor: IngestReplayProcessor, records: Iterable[Record]) -> list[Output]:
    return processor.process(REPLAYED, list(records), NOW)


def test_a_corrected_record_is_forwarded_from_its_place_in_the_source() -> None:
    processor, record = replayer_of(), sent(rejected(bad_order()), value=good_value())
    (output,) = process(processor, [record])
    assert output[:4] == ("raw", PLACED_BY_KEY, b"o7", good_value())
    found = dict(output.headers)
    assert output.headers[0] == (SOURCE, f"orders/2/7/{NOW - 5}".encode())
    assert found["trace"] == b"t"
    assert (found[ORIGINAL_TOPIC], found[ORIGINAL_OFFSET]) == (b"shop.orders", b"7")
    assert (found[REPLAY_ID], found[REPLAY_COUNT]) == (REPLAY.encode(), b"1")
    assert ERROR_STAGE not in found
    assert REPLAY_INPUT not in found
    # The scorer believes them, so that its outcomes name the replay.
    scored = Record("payments.raw", 0, 3, NOW, output.key, output.value, output.headers)
    assert replay_headers(scored)[REPLAY_ID] == REPLAY


def test_what_a_source_takes_from_the_kafka_record_is_that_of_the_original() -> None:
    fields = {
        "id": Coordinates(),
        "at": RecordTimestamp(),
        "country": RecordKey(),
        "amount": "amount",
    }
    processor = replayer_of(fields=fields, where=None)
    record = sent(rejected(bad_order(), fields=fields, where=None), value=b'{"amount": 1}')
    (output,) = process(processor, [record])
    assert output.key == b"orders/2/7"
    assert dict(output.headers)["stream-app-source-key"] == b"theirs"


def test_options_of_a_replay_lead_to_the_topic_that_only_replays_write() -> None:
    dead = rejected(bad_order())
    record = sent(dead, value=good_value(), learn=False, model=4)
    (output,) = process(replayer_of(), [record])
    assert output.topic == "raw.replay"
    found = dict(output.headers)
    assert (found[REPLAY_LEARN], found[REPLAY_MODEL]) == (b"no", b"4")


def test_a_record_that_fails_again_is_a_dead_letter_of_the_replay() -> None:
    processor = replayer_of()
    first = rejected(bad_order())
    (second,) = process(processor, [sent(first)])
    (third,) = process(processor, [sent(second, 1)])
    assert (second.topic, second.partition) == ("raw.dlq", first.partition)
    before, after = dict(first.headers), dict(third.headers)
    for name in (SOURCE, ORIGINAL_TOPIC, ORIGINAL_OFFSET, ERROR_STAGE, "trace"):
        assert before[name] == after[name]
    assert (after[REPLAY_ID], after[REPLAY_COUNT]) == (REPLAY.encode(), b"2")
    assert after["stream-app-error-attempts"] == b"3"
    assert before["stream-app-error-id"] != after["stream-app-error-id"]
    assert (third.key, third.value) == (b"theirs", b"{broken")
    assert processor.state.dead == {"invalid-json": 2}


def test_records_that_are_left_out_are_counted_for_the_replay() -> None:
    processor, dead = replayer_of(), rejected(bad_order())
    values = [good_value(kind="quote"), good_value(kind="quote"), good_value()]
    records = [sent(dead, offset, value) for offset, value in enumerate(values)]
    assert [one.topic for one in process(processor, records)] == ["raw"]
    (state,) = processor.before_commit({}, NOW)
    written = orjson.loads(state.value or b"")
    assert state.key == b"payments.ingest.replay/2"
    assert written["next"] == 3
    assert written["counts"] == {"filtered": 2, "forwarded": 1}
    assert written["replays"] == {REPLAY: {"filtered": 2}}
    again = ReplayState(REPLAYED)
    again.restore(written)
    assert again.output() == state


def test_labels_go_to_labels_and_fail_to_their_own_dead_letters() -> None:
    fields = orjson.dumps({**label(1), "known_at": "soon"})
    source = InputPartition("shop.verdicts", 0)
    first = processor_of(source=source)
    first.restore({source: -1})
    dead = first.process(source, [Record("shop.verdicts", 0, 3, NOW, b"k", b"{")], NOW)[-1]
    assert dead.topic == "labels.dlq"
    processor = replayer_of()
    fixed = process(processor, [sent(dead, 0, orjson.dumps(label(1))), sent(dead, 1, fields)])
    # Whether its time is valid, the scorer decides.
    assert [(one.topic, one.key) for one in fixed] == [("labels", b"e1"), ("labels", b"e1")]
    again = process(processor, [sent(dead, 2)])
    assert [one.topic for one in again] == ["labels.dlq"]


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(SOURCE, b"orders/2/x/0")],
        [(SOURCE, b"gone/2/7/0")],
        [(SOURCE, b"orders/2/7/0"), (REPLAY_INPUT, b"labels")],
    ],
)
def test_a_record_of_no_source_is_a_dead_letter(headers: list[tuple[str, bytes]]) -> None:
    record = Record(*REPLAYED, 0, NOW, b"k", good_value(), headers)
    (output,) = process(replayer_of(), [record])
    assert dict(output.headers)["stream-app-error-code"] == b"unknown-source"
    assert output.topic == ("labels.dlq" if len(headers) == 2 else "raw.dlq")


def test_a_record_that_is_too_large_to_be_forwarded_is_a_dead_letter_again() -> None:
    dead = rejected(bad_order())
    record = sent(dead, value=good_value(text="x" * 2000))
    (output,) = process(replayer_of(max_bytes=1500), [record])
    assert output.topic == "raw.dlq"
    assert b"(source orders)" in (dict(output.headers)["stream-app-error-message"] or b"")


def test_no_watermark_is_moved_and_nothing_is_written_before_the_first_record() -> None:
    """The state would hide from a source's partition that nobody has said anything yet."""
    processor = replayer_of()
    for at in range(NOW, NOW + 7_200_000, 600_000):
        processor.look(at, [REPLAYED])
        assert processor.idle(at, at_end=True) == []
        assert processor.before_commit({}, at) == []
    outputs = process(processor, [sent(rejected(bad_order()), value=good_value())])
    outputs += processor.before_commit({}, NOW + 60_000)
    assert [one.topic for one in outputs] == ["raw", "ingest.state"]


def test_reading_continues_at_the_committed_offset_or_that_of_the_state() -> None:
    state = ReplayState(REPLAYED)
    state.next = 20
    for committed, offset in ((-1, 20), (10, 20), (30, 30)):
        processor = replayer_of(FakeReader([state.output()]))
        assert processor.restore({REPLAYED: committed}) == {REPLAYED: offset}


@pytest.mark.parametrize(("low", "high", "committed"), [(50, 100, 30), (0, 20, 30), (1, 9, -1)])
def test_replayed_records_that_were_deleted_unread_are_waited_for(
    low: int, high: int, committed: int
) -> None:
    waiting = replayer_of(FakeReader(low=low, high=high))
    assert waiting.restore({REPLAYED: committed}) == {REPLAYED: HELD}
    assert waiting.waiting_for is WaitReason.SOURCE
    assert waiting.state.alarms.open == ["source-held"]
    accepting = replayer_of(FakeReader(low=low, high=high), accept_loss=True)
    assert accepting.restore({REPLAYED: committed}) == {REPLAYED: low}
    assert "source-records-lost" in accepting.state.alarms.open
