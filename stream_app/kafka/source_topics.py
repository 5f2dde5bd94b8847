"""Topics of the sources on the cluster: which ones this user can read, and why not the others."""

from collections.abc import Sequence
from typing import NamedTuple, Self

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AclOperation, AdminClient, TopicDescription

from stream_app.core.reading.completeness import MAX_PARTS
from stream_app.errors import TopicsError
from stream_app.kafka.access_errors import kafka_error
from stream_app.pipeline import Pipeline, direct_source
from stream_app.topic_kinds import topic_name

_TIMEOUT = 10.0  # seconds
# Sixteen zero bytes: brokers before Kafka 2.8, and topics that were made by them.
_NO_ID = "A" * 22
_ABSENT = (
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.TOPIC_EXCEPTION,
)


class SourceTopics(NamedTuple):
    """Topics of the sources.

    Attributes:
        ids: id of each topic that can be read, None from brokers without ids; a recreated topic
            has another one.
        problems: for each other topic the reason, a clause about it.
        partitions: number of partitions of each topic that can be read.
    """

    ids: dict[str, str | None]
    problems: dict[str, str]
    partitions: dict[str, int]

    @property
    def error(self) -> TopicsError | None:
        """Error of the topics that cannot be read, None if there are none."""
        if not self.problems:
            return None
        found = "; ".join(f"{name} {problem}" for name, problem in self.problems.items())
        return TopicsError(f"Topics of sources cannot be read: {found}", REMEDY)


REMEDY = (
    "Correct Source.topic, create the topic, or grant this user the rights that `stream-app acl "
    "show PIPELINE --role ingester` lists, or --role scorer for one that is read directly"
)
"""Remedy of topics that cannot be read."""


def describe_sources(admin: AdminClient, names: Sequence[str]) -> SourceTopics:
    """Return which topics can be read; creates none.

    Raises:
        KafkaUnavailableError: the cluster does not answer.
    """
    found = SourceTopics({}, {}, {})
    if not names:
        return found
    admin.poll(0)
    described = admin.describe_topics(
        TopicCollection(sorted(set(names))),
        include_authorized_operations=True,
        request_timeout=_TIMEOUT,
    )
    for name, future in described.items():
        try:
            topic: TopicDescription | None = future.result(2 * _TIMEOUT)
        except KafkaException as raised:
            error: KafkaError = raised.args[0]
            if error.code() not in _ABSENT:
                raise kafka_error(error, f"see {name}") from None
            topic = None
        problem = _problem(topic)
        if problem is not None:
            found.problems[name] = problem
        elif topic is not None:
            topic_id = str(topic.topic_id)
            found.ids[name] = None if topic_id == _NO_ID else topic_id
            found.partitions[name] = len(topic.partitions)
    return found


class DirectTopic(NamedTuple):
    """Topic that scorers read themselves.

    Attributes:
        name: its name.
        like: topic of the pipeline that has as many partitions.
    """

    name: str
    like: str

    @classmethod
    def of(cls, pipeline: Pipeline) -> Self | None:
        """Return the direct topic of a pipeline, None if it has none."""
        source = direct_source(pipeline)
        return None if source is None else cls(source.topic, topic_name(pipeline.name, "labels"))

    def check(self, found: SourceTopics) -> None:
        """Check the partitions of the topic, if it and the topic of the pipeline were found.

        Raises:
            TopicsError: the counts differ.
        """
        count, needed = found.partitions.get(self.name), found.partitions.get(self.like)
        if None not in (count, needed) and count != needed:
            raise TopicsError(
                f"Topic {self.name} is read directly and has {count} partitions, and the pipeline "
                f"has {needed}: keys would not meet their state",
                "Leave direct out, so that ingest reads it; or start the pipeline under a new name "
                f"with STREAM_APP_TOPICS__PARTITIONS={count}",
            )


def _problem(topic: TopicDescription | None) -> str | None:
    """Return why a topic cannot be read, None if it can."""
    # A broker hides topics from users without rights on them.
    if topic is None or not topic.partitions:
        return "does not exist, or this user may not see it"
    allowed = topic.authorized_operations
    # None: the brokers have no authorizer, or are too old to say.
    if allowed is not None and AclOperation.READ not in allowed:
        return "may not be read by this user"
    count = len(topic.partitions)
    if count > MAX_PARTS:
        return f"has {count:,} partitions, more than the {MAX_PARTS:,} that ingest supports"
    return None
