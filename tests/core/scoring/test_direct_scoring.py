"""Records of a topic that is read directly: each has one outcome, in the partition of its key."""

from collections import Counter
from typing import Any

import orjson
import pytest

from stream_app.core.reading.completeness import Completeness
from stream_app.core.reading.direct_reading import DirectIntake
from stream_app.core.scoring.event_clock import EVENTS_NEEDED
from stream_app.core.scoring.partition_state import PartitionState
from stream_app.core.scoring.scorer import Scorer, ScorerConfig
from stream_app.core.scoring.state_changelog import PlacementChangedError
from stream_app.error_codes import ERROR_CODES
from stream_app.headers import SOURCE, own_header_texts
from stream_app.kafka.partitioner import PARTITIONERS
from stream_app.records import Failure, Output, Record, UnreadableRecord
from stream_app.sources import Epoch, RecordKey, Source
from tests.core.scoring.label_streams import FixedModel
from tests.small_pipeline import HOUR, NOW, event, label, record, small_pipeline

TOPIC = "shop.orders"
PARTITIONS = 4
DAY = 24 * HOUR
SECONDS = NOW // 1000


def pipeline(**changes: Any) -> Any:
    declared: dict[str, Any] = {
        "topic": TOPIC,
        "name": "orders",
        "start": "earliest",
        "direct": True,
        "partitioner": "crc32",
        "fields": {"id": "order.id", "at": Epoch("ts", "s")},
    }
    return small_pipeline(sources=(Source(**{**declared, **changes}),))


def home(key: bytes, name: str = "crc32") -> int:
    return PARTITIONERS[name].place(key, PARTITIONS)  # type: ignore[index]


def scorer(partition: int, declared: Any = None, name: str = "crc32") -> Scorer:
    placement = PARTITIONERS[name].placement(lambda: PARTITIONS)  # type: ignore[index]
    config = ScorerConfig(
        fingerprint="f",
        group="payments.score",
        app_version="1",
        max_bytes=100_000,
        max_entries=1000,
        placement=placement,
    )
    state = PartitionState(partition, DAY, 6 * HOUR)
    return Scorer(declared or pipeline(), config, state, lambda: 0.0)


def order(number: int, **changes: Any) -> bytes:
    fields = {"order": {"id": f"e{number}"}, "ts": SECONDS, "amount": 1.0, **changes}
    return orjson.dumps(fields)


def sent(number: int, offset: int = 0, **changes: Any) -> Record:
    """Return the record of an order, by default with its key in its partition."""
    key = f"e{number}".encode()
    found = Record(TOPIC, home(key), offset, NOW, key, order(number), ())
    return found._replace(**changes)


def number_in(partition: int, after: int = 0) -> int:
    """Return the number of an order whose key is in a partition."""
    return next(n for n in range(after, 1000) if home(b"e%d" % n) == partition)


def of(outputs: list[Output], topic: str) -> list[Output]:
    return [output for output in outputs if output.topic == topic]


def headers(output: Output) -> dict[str, str]:
    return own_header_texts(output.headers)


def code(outputs: list[Output]) -> str:
    (dead,) = of(outputs, "raw.dlq")
    return headers(dead)["stream-app-error-code"]


def test_an_event_is_scored_with_its_place_in_the_topic() -> None:
    number = number_in(2)
    subject = scorer(2)
    outputs = subject.score_direct([sent(number, 7)], FixedModel(), NOW)
    (scored,) = of(outputs, "scored")
    value = orjson.loads(scored.value or b"")
    assert value["origin"] == {"source": "orders", "partition": 2, "offset": 7}
    assert value["source"] == {"topic": TOPIC, "partition": 2, "offset": 7}
    assert (scored.partition, scored.key) == (2, b"e%d" % number)
    assert scored.headers == []
    # Its label has the same key, so it is in the same partition.
    joined = subject.join(
        [record(label(number, NOW + HOUR), topic="payments.labels")], FixedModel(), NOW
    )
    assert len(of(joined, "examples")) == 1
    again = subject.score_direct([sent(number, 8)], FixedModel(), NOW)
    assert of(again, "scored") == []
    assert subject.state.counts.duplicates == 1


def test_a_record_in_a_wrong_partition_is_a_dead_letter_that_a_replay_corrects() -> None:
    number = number_in(1)
    outputs = scorer(3).score_direct([sent(number, partition=3)], FixedModel(), NOW)
    assert code(outputs) == "wrong-partition"
    (dead,) = of(outputs, "raw.dlq")
    said = headers(dead)["stream-app-error-message"]
    assert said == (
        "the record is in partition 3, and crc32, the partitioner that is declared, puts its key "
        "in partition 1 (source orders)"
    )
    assert f"e{number}" not in said
    assert (dead.partition, dead.key, dead.value) == (3, b"e%d" % number, order(number))
    assert headers(dead)["stream-app-original-topic"] == TOPIC
    # As a replay sends it: with its place in the source, to the partition of its key.
    replayed = Record("payments.raw.replay", 1, 0, NOW, dead.key, dead.value, [dead.headers[0]])
    assert replayed.headers[0][0] == SOURCE
    scored = scorer(1).score_direct([replayed], FixedModel(), NOW)
    (one,) = of(scored, "scored")
    assert orjson.loads(one.value or b"")["origin"]["partition"] == 3
    # Nor is it scored in the wrong one by a replay.
    wrong = scorer(3).score_direct([replayed._replace(partition=3)], FixedModel(), NOW)
    assert code(wrong) == "wrong-partition"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"key": None}, "missing-key"),
        ({"key": b""}, "key-mismatch"),
        ({"key": b"other"}, "key-mismatch"),
        ({"key": b"other", "partition": 0}, "key-mismatch"),
        ({"key": b"other", "partition": 1}, "key-mismatch"),
        ({"key": b"\xff", "partition": 0}, "key-mismatch"),
        ({"value": b"{broken"}, "invalid-json"),
        ({"value": b'{"order": {}}'}, "missing-field"),
        ({"value": b""}, "empty-value"),
    ],
)
def test_other_records_are_dead_letters_with_their_own_codes(
    changes: dict[str, Any], expected: str
) -> None:
    found = sent(number_in(2))._replace(**changes)
    subject = scorer(found.partition)
    outputs = subject.score_direct([found], FixedModel(), NOW)
    assert code(outputs) == expected
    (dead,) = of(outputs, "raw.dlq")
    assert headers(dead)["stream-app-source"] == f"orders/{found.partition}/0/{NOW}"


def test_a_record_without_value_is_a_tombstone_and_an_unreadable_one_is_not() -> None:
    subject = scorer(0)
    gone = Record(TOPIC, 0, 0, NOW, b"x", None, ())
    unreadable = UnreadableRecord(TOPIC, 0, 1, -1, None, None)
    outputs = subject.score_direct([gone, unreadable], FixedModel(), NOW)
    assert code(outputs) == "unreadable-record"
    assert subject.state.counts.tombstones == 1
    assert subject.state.counts.events == 2


def test_a_filter_applies_to_the_topic_and_to_replays_and_to_no_other_record() -> None:
    declared = pipeline(where=lambda row: row["order"]["id"] != "e-left" and row["amount"] < 5)
    number = number_in(1)
    subject = scorer(1, declared)
    left = sent(number, value=order(number, amount=7.0))
    marked = DirectIntake(declared).marked(left)._replace(topic="payments.raw.replay")
    own = record(event(number), 3)
    outputs = subject.score_direct([left, marked, own], FixedModel(), NOW)
    assert subject.state.counts.filtered == 2
    assert len(of(outputs, "scored")) == 1
    failing = sent(number, value=order(number, amount="many"))
    failed = subject.score_direct([failing], FixedModel(), NOW)
    assert code(failed) == "filter-failed"
    # Replayed through `<p>.raw.replay`, as all of a scorer: `ingest` does not read this topic.
    (dead,) = of(failed, "raw.dlq")
    assert headers(dead)["stream-app-error-stage"] == "process"


def test_an_envelope_decides_before_the_partition_does() -> None:
    declared = pipeline(envelope="debezium")
    found = Counter[str]()
    for operation in ("c", "u", "d"):
        subject = scorer(3, declared)
        row = orjson.loads(order(number_in(1)))
        value = orjson.dumps({"op": operation, "after": row, "before": None})
        outputs = subject.score_direct(
            [sent(number_in(1), value=value, partition=3)], FixedModel(), NOW
        )
        counts = subject.state.counts
        found += Counter(filtered=counts.filtered, tombstones=counts.tombstones)
        found += Counter(code([one]) for one in of(outputs, "raw.dlq"))
    assert found == {"filtered": 1, "tombstones": 1, "wrong-partition": 1}


def test_headers_of_the_producer_stay_and_forged_ones_do_not() -> None:
    number = number_in(0)
    forged = [(SOURCE, b"orders/9/9/9"), ("traceparent", b"00-1"), ("other", b"x")]
    outputs = scorer(0).score_direct([sent(number, headers=forged)], FixedModel(), NOW)
    (scored,) = of(outputs, "scored")
    assert scored.headers == [("traceparent", b"00-1")]
    assert orjson.loads(scored.value or b"")["origin"]["partition"] == 0


def test_a_field_may_come_from_the_key_and_a_retry_needs_no_topic() -> None:
    calls = []

    def features(fields: Any) -> Any:
        calls.append(fields["id"])
        if len(calls) == 1:
            raise ConnectionError
        return {"amount": 1.0}

    sources = pipeline(fields={"id": RecordKey(), "at": Epoch("ts", "s")}).sources
    declared = small_pipeline(sources=sources, features=features)
    number = number_in(2)
    subject = scorer(2, declared)
    subject.score_direct([sent(number)], FixedModel(), NOW)
    (waiting,) = subject.state.retries.due(NOW + DAY)
    outputs = subject.retry([waiting], FixedModel(), NOW + 1)
    assert len(of(outputs, "scored")) == 1
    assert subject.state.counts.retrying == 0
    assert calls == [f"e{number}"] * 2


def test_a_quarantined_record_is_a_dead_letter_that_can_be_replayed() -> None:
    number = number_in(2)
    found = scorer(2).reject(
        sent(number), Failure("record-crashes", "it crashed"), FixedModel(), NOW, label=False
    )
    assert headers(found[0])["stream-app-source"].startswith("orders/2/0/")


@pytest.mark.parametrize("name", ["murmur2", "crc32", "fnv1a"])
def test_each_partitioner_agrees_with_its_producers(name: str) -> None:
    declared = pipeline(partitioner=name)
    outcomes = Counter[str]()
    for number in range(40):
        key = b"e%d" % number
        for partition in range(PARTITIONS):
            subject = scorer(partition, declared, name)
            outputs = subject.score_direct([sent(number, partition=partition)], FixedModel(), NOW)
            expected = "scored" if home(key, name) == partition else "raw.dlq"
            assert len(of(outputs, expected)) == 1
            outcomes[expected] += 1
    assert outcomes == {"scored": 40, "raw.dlq": 120}


def test_a_state_of_another_partitioner_is_not_read() -> None:
    state = PartitionState(0, DAY, HOUR)
    state.partitioner = "crc32"
    changelog = [(one.key, one.value) for one in state.final_records()]
    state.restore(changelog)
    with pytest.raises(PlacementChangedError):
        PartitionState(0, DAY, HOUR).restore(changelog)


def test_the_last_words_of_ingest_about_the_source_do_not_hold_the_clock() -> None:
    """It forwarded the source before it was read directly; some of that may be unread."""
    subject = scorer(0)
    said = Completeness("orders", NOW - DAY, 0, 6, "open")
    records = [
        Record("payments.raw", 0, 0, NOW, None, None, said.headers()),
        *(sent(number_in(0, 9 * index), index) for index in range(EVENTS_NEEDED)),
    ]
    subject.score_direct(records, FixedModel(), NOW)
    assert subject.state.counts.completeness == 1
    assert subject.state.clock.events.watermark == NOW


def test_the_code_says_what_to_do() -> None:
    assert "leave direct out" in ERROR_CODES["wrong-partition"].remedy
