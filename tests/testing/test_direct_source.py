"""The test harness, files and topics treat a direct source as scorers do."""

import orjson

from stream_app.dead_letters.dead_letter_reader import DeadLetter, DeadLetterRef, Origin
from stream_app.dead_letters.replay_records import EditedRecord, ReplayRoute
from stream_app.kafka.partitioner import librdkafka_partition
from stream_app.offline.ingesting import OfflineIngest
from stream_app.records import Failure, Record
from stream_app.sources import Epoch, Source
from stream_app.testing import PipelineHarness
from tests.small_pipeline import NOW, small_pipeline

PIPELINE = small_pipeline(
    sources=(
        Source(
            topic="shop.orders",
            name="orders",
            start="earliest",
            direct=True,
            partitioner="crc32",
            fields={"id": "order.id", "at": Epoch("ts", "s")},
            where=lambda row: bool(row["amount"] > 0),
        ),
    )
)
ORDER = {"order": {"id": "e1"}, "ts": NOW // 1000, "amount": 1.0}


def test_the_harness_checks_a_key_that_is_given() -> None:
    harness = PipelineHarness(PIPELINE)
    assert harness.event(ORDER, source="orders").kind == "scored"
    assert harness.event(ORDER, key="e1", source="orders").kind == "duplicate"
    assert harness.event(ORDER, key="other", source="orders").error_code == "key-mismatch"
    assert harness.event(ORDER, key=None, source="orders").error_code == "missing-key"
    assert harness.event({**ORDER, "amount": -1.0}, source="orders").kind == "filtered"
    assert harness.event(None, key="e1", source="orders").kind == "tombstone"
    assert harness.event(b"{", key="e1", source="orders").error_code == "invalid-json"
    assert harness.label({"id": "e1", "fraud": True, "known_at": NOW}).kind == "joined"


def test_records_of_the_topic_are_checked_to_be_in_their_partition() -> None:
    ingest = OfflineIngest(PIPELINE, "orders", labels=False, partitions=3)
    home = librdkafka_partition(b"e1", 3)
    value = orjson.dumps(ORDER)
    record = Record("shop.orders", home, 7, NOW, b"e1", value)
    forwarded, result = ingest.ingest(record, 0)
    assert result is None
    assert (forwarded.topic, forwarded.partition, forwarded.offset) == ("payments.raw", 0, 0)
    assert forwarded.headers[0][1] == f"orders/{home}/7/{NOW}".encode()
    _, wrong = ingest.ingest(record._replace(partition=(home + 1) % 3), 1)
    assert isinstance(wrong, Failure)
    assert wrong.code == "wrong-partition"


def test_a_replay_goes_to_the_partition_of_the_key() -> None:
    options = {"to": "replay", "learn": True, "model": None}
    home = librdkafka_partition(b"e1", 3)
    ref = DeadLetterRef("raw.dlq", (home + 1) % 3, 5, "id", Origin("shop.orders", 0, 7))
    dead = DeadLetter(ref, NOW, b"e1", b"{}", ())
    sent = ReplayRoute.of(PIPELINE, "r", options, 3).output(dead, EditedRecord(b"e1", b"{}"))
    assert (sent.topic, sent.partition) == ("raw.replay", home)
    # Elsewhere an unchanged key keeps its partition.
    other = ReplayRoute.of(small_pipeline(), "r", options, 3)
    assert other.output(dead, EditedRecord(b"e1", b"{}")).partition == ref.partition
    route = ReplayRoute.of(PIPELINE, "r", options, 3)
    assert route.output(dead, EditedRecord(None, b"{}")).partition == ref.partition
