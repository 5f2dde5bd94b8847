"""Records that a replay sends: their topics, partitions and headers."""

from typing import NamedTuple

from stream_app import headers as names
from stream_app.dead_letters.dead_letter_record import DeadLetter
from stream_app.dead_letters.edits import EditedRecord
from stream_app.kafka.partitioner import java_partition
from stream_app.records import Output
from stream_app.topic_kinds import DeadLetterKind, TopicKind

REPLAY_TOPICS: dict[DeadLetterKind, TopicKind] = {"raw.dlq": "raw.replay", "labels.dlq": "labels"}
"""Topics to which dead letters are sent by default."""

SOURCE_TOPICS: dict[DeadLetterKind, TopicKind] = {"raw.dlq": "raw", "labels.dlq": "labels"}
"""Topics to which dead letters are sent with `--to source`."""

# Headers of the failure that stay on the record, so that a further dead letter has them.
_KEPT_HEADERS = (
    names.ERROR_ATTEMPTS,
    names.ERROR_FIRST_FAILED_AT,
    names.ORIGINAL_TOPIC,
    names.ORIGINAL_PARTITION,
    names.ORIGINAL_OFFSET,
    names.ORIGINAL_TIMESTAMP,
)


class ReplayRoute(NamedTuple):
    """Destination and options of the records of one replay.

    Attributes:
        replay_id: id of the replay.
        to_source: True to send to the source topics instead of those for replays.
        learn: False if the events must not become examples.
        model: version to score with, None for the served one.
        partitions: number of partitions of the topics.
    """

    replay_id: str
    to_source: bool
    learn: bool
    model: int | None
    partitions: int

    def topic(self, kind: DeadLetterKind) -> TopicKind:
        """Return the kind of the topic to which dead letters of a kind are sent."""
        return (SOURCE_TOPICS if self.to_source else REPLAY_TOPICS)[kind]

    def output(self, dead_letter: DeadLetter, edited: EditedRecord) -> Output:
        """Return the record to send.

        An unchanged key keeps the partition, whatever partitioner the producer used: if the event
        was scored in the meantime, that partition's scorer knows it. A changed key determines the
        partition.
        """
        ref, key = dead_letter.ref, edited.key
        if key is None or key == dead_letter.key:
            partition = ref.partition
        else:
            partition = java_partition(key, self.partitions)
        texts = dead_letter.header_texts
        headers = [
            *dead_letter.original_headers,
            *((name, texts[name].encode()) for name in _KEPT_HEADERS if name in texts),
            (names.REPLAY_ID, self.replay_id.encode()),
            (names.REPLAY_COUNT, str(replay_count(dead_letter) + 1).encode()),
        ]
        if not self.learn:
            headers.append((names.REPLAY_LEARN, b"no"))
        if self.model is not None:
            headers.append((names.REPLAY_MODEL, str(self.model).encode()))
        return Output(self.topic(ref.kind), partition, key, edited.value, tuple(headers))


def replay_count(dead_letter: DeadLetter) -> int:
    """Return the number of times that the record has been replayed."""
    text = dead_letter.header_texts.get(names.REPLAY_COUNT, "")
    return int(text) if text.isdecimal() and len(text) < 10 else 0
