"""What becomes of the records that a replay has sent, read from what the scorers write."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from stream_app.dead_letters.operations import Operation, ReplayProgress, place_text
from stream_app.headers import ERROR_CODE, REPLAY_ID
from stream_app.kafka.access_errors import failure

WATCHED = ("scored", "raw.dlq", "labels.dlq")
_BATCH = 10_000


@dataclass(slots=True)
class ReplayOutcomes:
    """How many of a replay's events were scored, and how many of its events and labels failed again, by code.

    A label that is accepted leaves no trace that says which replay sent it.
    """

    passed: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    labels_failed: Counter[str] = field(default_factory=Counter)

    @property
    def again(self) -> Counter[str]:
        """What failed again, by code."""
        return self.failed + self.labels_failed


class SentRecord(NamedTuple):
    """What a replay came to; `duplicates` were scored meanwhile, `retrying` failed for a reason outside and are tried
    again, `pending` still have no outcome that is known.
    """

    replay: str
    sent: int
    passed: int
    failed: dict[str, int]
    duplicates: int
    retrying: int
    pending: int


class OutcomeWatch:
    """Follows the outcomes of replays, by their ids, from where the topics ended when the first one was planned.

    `since` has those ends by "kind/partition"; `config` is a librdkafka configuration.
    """

    def __init__(self, config: Mapping[str, Any], pipeline: str, since: Mapping[str, int]) -> None:
        self._found: defaultdict[bytes, ReplayOutcomes] = defaultdict(ReplayOutcomes)
        self._prefix = len(pipeline) + 1
        self._next: dict[str, int] = {}
        self._consumer = Consumer(
            {
                **config,
                "group.id": "stream-app-reader",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "auto.offset.reset": "earliest",
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 50,
            }
        )
        places = [(place.rsplit("/", 1), offset) for place, offset in since.items()]
        self._consumer.assign(
            [
                TopicPartition(f"{pipeline}.{kind}", int(number), offset)
                for (kind, number), offset in places
            ]
        )

    def of(self, replay_id: str) -> ReplayOutcomes:
        """What is known of a replay."""
        return self._found[replay_id.encode()]

    def look(self, timeout: float = 0.0) -> None:
        """Take in what has come; waits at most so many seconds for it."""
        while messages := self._consumer.consume(_BATCH, timeout):
            for message in messages:
                self._take(message)
            if len(messages) < _BATCH:
                break

    def read_to(self, ends: Mapping[str, int]) -> None:
        """Take in everything below these ends, by "kind/partition"."""
        while any(self._next.get(place, -1) < end for place, end in ends.items()):
            self.look(0.05)

    def close(self) -> None:
        """Let the cluster go."""
        self._consumer.close()

    def _take(self, message: Message) -> None:
        place = place_text((message.topic() or "")[self._prefix :], message.partition() or 0)
        error, offset = message.error(), message.offset() or 0
        if error is not None:
            if error.code() == KafkaError._PARTITION_EOF:
                self._next[place] = offset
            elif (
                error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED
            ):  # a right on the group is not needed
                raise failure(error, f"read {message.topic()}")
            return
        self._next[place] = offset + 1
        facts = dict(message.headers() or ())
        replay_id = facts.get(REPLAY_ID)
        if not replay_id:
            return
        outcomes = self._found[replay_id]
        if place.startswith("scored/"):
            outcomes.passed += 1
        else:
            failed = outcomes.failed if place.startswith("raw.dlq/") else outcomes.labels_failed
            failed[(facts.get(ERROR_CODE) or b"unknown").decode("utf-8", "replace")] += 1


def result(
    act: Operation, progress: ReplayProgress, outcomes: ReplayOutcomes, backlog: int, retrying: int
) -> SentRecord:
    """What is known of a replay while so many records wait for a scorer and so many to be tried again, whosever they
    are; duplicates, which leave no trace, are what remains when none does.
    """
    failed = outcomes.again.total()
    if backlog:
        pending = progress.sent - outcomes.passed - failed
        return SentRecord(
            act.id, progress.sent, outcomes.passed, dict(outcomes.again), 0, 0, max(0, pending)
        )
    labels = progress.labels - outcomes.labels_failed.total()
    silent = max(0, progress.events - outcomes.passed - outcomes.failed.total())
    tried = min(silent, retrying)
    return SentRecord(
        act.id,
        progress.sent,
        outcomes.passed + labels,
        dict(outcomes.again),
        silent - tried,
        tried,
        0,
    )
