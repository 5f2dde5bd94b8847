"""Rules of a topic that is read directly: each violation is one line with its remedy."""

from typing import Any

import pytest

from stream_app.declaration.pipeline_fingerprint import fingerprint
from stream_app.pipeline import direct_source, ingested_topics, source_topics
from stream_app.sources import Constant, Coordinates, EnvelopeField, Epoch, RecordKey
from tests.declaration.test_source_rules import completed, error, source


def direct(**changes: Any) -> Any:
    return source(direct=True, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"partitioner": "crc32"},
        {"fields": {"id": RecordKey(), "at": Epoch("ts", "s")}, "where": bool},
        {"start": "latest", "on_loss": "continue", "format": "avro"},
        {
            "envelope": "debezium",
            "updates": "events",
            "fields": {"id": EnvelopeField("source.lsn")},
        },
    ],
)
def test_everything_else_of_a_source_can_be_declared(changes: dict[str, Any]) -> None:
    pipeline = completed(direct(**changes), labels=(source(topic="shop.verdicts"),))
    assert direct_source(pipeline) is pipeline.sources[0]
    assert source_topics(pipeline) == ["shop.orders", "shop.verdicts"]
    assert ingested_topics(pipeline) == ["shop.verdicts"]


def test_an_event_id_of_coordinates_is_possible_with_another_key() -> None:
    declared = direct(fields={"id": Coordinates()})
    assert completed(declared, key="country").key == "country"


@pytest.mark.parametrize(
    ("sources", "labels", "message"),
    [
        (
            [direct(), source(topic="other")],
            [],
            "sources[0].direct is set, but the pipeline has 2 sources of events. "
            "Declare one source of events, or leave direct out: ingest merges several",
        ),
        (
            [],
            [direct()],
            "label.sources[0].direct is set, but only a topic of events can be read directly. "
            "Leave direct out: ingest brings each label to the partition of its event",
        ),
        (
            [source(partitioner="crc32")],
            [],
            "sources[0].partitioner is declared without direct. "
            "Leave it out: ingest reads topics of any partitioner; or declare direct=True",
        ),
        (
            [direct(partitioner="random")],
            [],
            "sources[0].partitioner is 'random'. Choose from None, 'murmur2', 'crc32', 'fnv1a'",
        ),
        ([source(direct="yes")], [], "sources[0].direct is 'yes'. Choose from False, True"),
        (
            [direct(topic="other.raw.replay")],
            [],
            "sources[0].direct is set, but other.raw.replay has the name of a topic of replays. "
            "Leave direct out",
        ),
        (
            [direct(fields={"id": Coordinates()})],
            [],
            "sources[0].direct is set, but the field id of the key is not what producers send as "
            "the record's key. Set key to a field whose text is the record's key, as in "
            "fields={'id': RecordKey()}, or leave direct out",
        ),
        ([direct(fields={"id": Constant("x")})], [], "sources[0].direct is set, but the field id"),
    ],
)
def test_what_it_excludes_is_rejected(sources: list[Any], labels: list[Any], message: str) -> None:
    assert error(*sources, labels=tuple(labels)).startswith(message)


def test_labels_cannot_declare_a_partitioner() -> None:
    found = error(labels=(source(partitioner="crc32"),))
    assert found.startswith("label.sources[0].partitioner is declared without direct")


def test_the_way_to_read_does_not_change_the_fingerprint() -> None:
    assert fingerprint(completed(source())) == fingerprint(completed(direct(partitioner="crc32")))
