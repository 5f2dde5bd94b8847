"""States of the role `ingest`: outcomes of the records of a partition, and its next offset."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import orjson

from stream_app.core.monitoring.alarms import CorrectiveActions, LastingAlarms
from stream_app.core.scoring.event_clock import InputClock
from stream_app.core.scoring.replay_headers import ReplayedRecords
from stream_app.errors import DataLossError
from stream_app.kafka.retrying_reader import TopicReader
from stream_app.records import InputPartition, Output
from stream_app.worker.roles.reporting import POISON_ALARM

SourceOutcome = Literal["forwarded", "filtered", "tombstone", "lost"]
"""Outcome of a record of a source that is no dead letter; `lost` ones were deleted unread."""


class IngestOutcomes:
    """Part that the states of sources and of their replays have in common.

    Args:
        source: the partition.

    Attributes:
        counts: records by outcome.
        dead: dead letters by error code.
        actions: corrective actions that are not reported yet.
        alarms: alarms of the partition.
    """

    def __init__(self, source: InputPartition) -> None:
        self.source = source
        self.counts: Counter[SourceOutcome] = Counter()
        self.dead: Counter[str] = Counter()
        self.actions = CorrectiveActions()
        self.alarms = LastingAlarms()

    def quarantine(self, code: str, now: int) -> None:
        """Note that a record is kept away from the process, with the error code of its failure."""
        self.actions.add("quarantine", code, now)
        self.alarms.raise_(POISON_ALARM, code, now)


class SourceState(IngestOutcomes):
    """State of one partition of a source; its record in `<p>.ingest.state` has all of it.

    Args:
        source: the partition.
        needed: successive records that move the watermark.

    Attributes:
        next: offset after the last record, -1 before the partition was read.
        first_parts: number of partitions that the topic had when this one was first read.
        topic_id: id of the topic that was read, None before it is known.
        clock: watermark of the forwarded records, and time at the end of the partition.
    """

    def __init__(self, source: InputPartition, needed: int) -> None:
        super().__init__(source)
        self.next = -1
        self.first_parts = 0
        self.topic_id: str | None = None
        self.clock = InputClock(needed)

    def output(self) -> Output:
        """Return the record with the state."""
        value = {
            "next": self.next,
            "first_parts": self.first_parts,
            "topic_id": self.topic_id,
            "counts": self.counts,
            "dead": self.dead,
            "clock": self.clock.as_dict(),
            "actions": self.actions.as_dict(),
            "alarms": self.alarms.as_dict(),
        }
        return Output("ingest.state", 0, state_key(self.source), orjson.dumps(value))

    def restore(self, value: Mapping[str, Any]) -> None:
        """Set what `output` wrote."""
        self.next, self.first_parts = value["next"], value["first_parts"]
        self.topic_id = value["topic_id"]
        self.counts, self.dead = Counter(value["counts"]), Counter(value["dead"])
        self.clock.restore(value["clock"])
        self.actions = CorrectiveActions.from_dict(value["actions"])
        self.alarms = LastingAlarms.from_dict(value["alarms"])


class ReplayState(IngestOutcomes):
    """State of one partition of the records that `ingest` reads again.

    They are counted with their source as dead letters, too.

    Attributes:
        next: offset after the last record.
        replays: records that were left out, by replay.
    """

    def __init__(self, source: InputPartition) -> None:
        super().__init__(source)
        self.next = 0
        self.replays = ReplayedRecords()

    def output(self) -> Output:
        """Return the record with the state."""
        value = {
            "next": self.next,
            "counts": self.counts,
            "dead": self.dead,
            "replays": self.replays.as_dict(),
            "actions": self.actions.as_dict(),
            "alarms": self.alarms.as_dict(),
        }
        return Output("ingest.state", 0, state_key(self.source), orjson.dumps(value))

    def restore(self, value: Mapping[str, Any]) -> None:
        """Set what `output` wrote."""
        self.next = value["next"]
        self.counts, self.dead = Counter(value["counts"]), Counter(value["dead"])
        self.replays = ReplayedRecords(value["replays"])
        self.actions = CorrectiveActions.from_dict(value["actions"])
        self.alarms = LastingAlarms.from_dict(value["alarms"])


def state_key(source: InputPartition) -> bytes:
    """Return the key of the record with the state of a partition.

    >>> state_key(InputPartition("shop.orders", 3))
    b'shop.orders/3'
    """
    return f"{source.topic}/{source.partition}".encode()


def read_states(
    records: Iterable[tuple[bytes | None, bytes | None]],
) -> dict[InputPartition, Mapping[str, Any]]:
    """Return the newest state of each partition, from a changelog.

    Raises:
        ValueError, KeyError: a record is damaged.
    """
    newest = {key: value for key, value in records if key is not None}
    return {
        InputPartition(topic, int(partition)): orjson.loads(value)
        for key, value in newest.items()
        if value is not None
        for topic, _, partition in [key.decode().rpartition("/")]
    }


def load_states(reader: TopicReader, topic: str) -> dict[InputPartition, Mapping[str, Any]]:
    """Return the newest state of each partition; `topic` has them.

    Raises:
        DataLossError: a state is damaged.
    """
    try:
        return read_states(reader.read_stable(topic, 0))
    except (ValueError, KeyError) as error:
        raise DataLossError(
            f"the state in {topic} cannot be read: {type(error).__name__}",
            "Restore the topic; or delete and create it: the counts then start over",
        ) from None
