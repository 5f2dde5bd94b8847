"""Topics of sources that cannot be read: each has a reason, in one line with its remedy."""

from concurrent.futures import Future
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicCollection, Uuid
from confluent_kafka.admin import AclOperation, TopicDescription

from stream_app.errors import KafkaUnavailableError
from stream_app.kafka.source_topics import describe_sources

DESCRIBE, READ = AclOperation.DESCRIBE, AclOperation.READ


class Answers:
    """Admin client that answers from memory; errors are codes of librdkafka."""

    def __init__(self, **topics: TopicDescription | int) -> None:
        self._topics = topics

    def poll(self, _: float) -> None:
        """Do nothing."""

    def describe_topics(self, topics: TopicCollection, **_: Any) -> dict[str, Future[Any]]:
        found: dict[str, Future[Any]] = {}
        for name in topics.topic_names:
            answer, future = self._topics[name], Future[Any]()
            if isinstance(answer, int):
                future.set_exception(KafkaException(KafkaError(answer)))
            else:
                future.set_result(answer)
            found[name] = future
        return found


def topic(partitions: int, *allowed: AclOperation, topic_id: Uuid | None = None) -> Any:
    return TopicDescription(
        "t", topic_id or Uuid(1, 2), False, [None] * partitions, [one.value for one in allowed]
    )


def test_each_topic_has_an_id_or_a_reason() -> None:
    found = describe_sources(
        Answers(
            good=topic(1024, READ, DESCRIBE),
            old=topic(1, topic_id=Uuid(0, 0)),
            wide=topic(1025, READ, DESCRIBE),
            seen=topic(3, DESCRIBE),
            missing=KafkaError.UNKNOWN_TOPIC_OR_PART,
            hidden=KafkaError.TOPIC_AUTHORIZATION_FAILED,
        ),
        ["good", "old", "wide", "seen", "missing", "hidden"],
    )
    assert found.ids == {"good": str(Uuid(1, 2)), "old": None}
    assert found.problems == {
        "wide": "has 1,025 partitions, more than the 1,024 that ingest supports",
        "seen": "may not be read by this user",
        "missing": "does not exist, or this user may not see it",
        "hidden": "does not exist, or this user may not see it",
    }
    text = str(found.error)
    assert "\n" not in text
    assert "; wide has 1,025 partitions" in text
    assert "acl show PIPELINE --role ingester" in text


def test_an_outage_is_no_answer() -> None:
    with pytest.raises(KafkaUnavailableError):
        describe_sources(Answers(a=KafkaError._TRANSPORT), ["a"])


def test_without_sources_nothing_is_asked() -> None:
    assert describe_sources(Answers(), []).error is None
