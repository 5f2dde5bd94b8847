"""Outcomes of replayed records, and the backlog of the workers, read while a replay is sent."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from time import monotonic, sleep
from typing import Any, NamedTuple, cast

from confluent_kafka import Message

from stream_app.dead_letters.dead_letter_admin import DeadLetterAdmin
from stream_app.dead_letters.ledger import Operation, ReplayProgress
from stream_app.dead_letters.replay_records import INGEST_TOPIC
from stream_app.errors import ReplayError
from stream_app.headers import ERROR_CODE, REPLAY_ID
from stream_app.kafka.offsets import VISIBLE_SECONDS, PartitionId
from stream_app.kafka.partition_reader import PartitionReader, headers_of
from stream_app.kafka.retrying_reader import RetryingReader
from stream_app.records import InputPartition
from stream_app.topic_kinds import TopicKind, topic_name

STALL_SECONDS = 30.0

_BATCH_RECORDS = 10_000
_POLL_SECONDS = 0.05

# Backlog per partition up to which records are counted one by one: offsets may be only markers.
_MAX_MARKERS = 100


@dataclass(slots=True)
class ReplayOutcomes:
    """Outcomes of one replay that are known from the records that workers wrote.

    Attributes:
        passed: number of events that were scored.
        failed: number of events that failed again, by error code.
        labels_failed: number of labels that failed again, by error code.
    """

    passed: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    labels_failed: Counter[str] = field(default_factory=Counter)

    @property
    def all_failed(self) -> Counter[str]:
        """Number of events and labels that failed again, by error code."""
        return self.failed + self.labels_failed


class ReplayResult(NamedTuple):
    """Number of replayed records by outcome.

    Attributes:
        replay_id: id of the replay.
        sent: records sent.
        passed: events scored and labels joined.
        failed: records that failed again, by error code.
        duplicates: events that had been scored in the meantime, and labels of events that had one.
        retrying: events that failed for an external reason and wait for another attempt.
        pending: records without a known outcome.
        expired: labels that became known after the horizon of their event.
        waiting: labels that wait for their event.
        filtered: records of sources that `ingest` left out, by filter or envelope.
        tombstones: records of sources that `ingest` counted as tombstones.
    """

    replay_id: str
    sent: int
    passed: int
    failed: dict[str, int]
    duplicates: int
    retrying: int
    pending: int
    expired: int = 0
    waiting: int = 0
    filtered: int = 0
    tombstones: int = 0


class OutcomeReader:
    """Follows the outcomes of replays in the topics that the workers write.

    Args:
        config: librdkafka configuration.
        pipeline: name of the pipeline.
        since: offsets to begin at, by "kind/partition": the ends when the replay was planned.
    """

    def __init__(self, config: Mapping[str, Any], pipeline: str, since: Mapping[str, int]) -> None:
        self._outcomes: defaultdict[bytes, ReplayOutcomes] = defaultdict(ReplayOutcomes)
        self._prefix_length = len(pipeline) + 1
        self._pipeline = pipeline
        self._reader = PartitionReader(config)
        self._reader.assign({self._partition(name): offset for name, offset in since.items()})

    def outcomes(self, replay_id: str) -> ReplayOutcomes:
        """Return the outcomes of a replay that are known so far."""
        return self._outcomes[replay_id.encode()]

    def poll(self, timeout: float = 0.0) -> None:
        """Read new outcomes; waits for them at most `timeout` seconds."""
        while messages := self._reader.poll(timeout, _BATCH_RECORDS):
            for message in messages:
                self._add(message)
            if len(messages) < _BATCH_RECORDS:
                break

    def read_to(self, ends: Mapping[str, int]) -> None:
        """Read all outcomes before the given offsets by "kind/partition"."""
        partitions = {self._partition(name): end for name, end in ends.items()}
        while any(self._reader.positions.get(one, -1) < end for one, end in partitions.items()):
            self.poll(_POLL_SECONDS)

    def close(self) -> None:
        """Close the connections."""
        self._reader.close()

    def _add(self, message: Message) -> None:
        kind = (message.topic() or "")[self._prefix_length :]
        headers = dict(headers_of(message))
        replay_id = headers.get(REPLAY_ID)
        if not replay_id:
            return
        outcomes = self._outcomes[replay_id]
        if kind == "scored":
            outcomes.passed += 1
        else:
            failed = outcomes.failed if kind == "raw.dlq" else outcomes.labels_failed
            failed[(headers.get(ERROR_CODE) or b"unknown").decode("utf-8", "replace")] += 1

    def _partition(self, name: str) -> PartitionId:
        kind, _, number = name.rpartition("/")
        return topic_name(self._pipeline, cast(TopicKind, kind)), int(number)


class _Reading(NamedTuple):
    """Reading of replayed records by the workers of one role."""

    role: str
    worker: str
    reader: RetryingReader
    inputs: list[InputPartition]


class ReplayBacklog:
    """Measures how far the workers are behind the records that a replay has sent.

    What `ingest` has to read comes first: it passes the records on to the scorers.

    Args:
        admin: connections of the pipeline.
        reader: reader of the outcomes, which is polled while waiting.
        topics: kinds of the topics through which the records of the replay go.
    """

    def __init__(
        self, admin: DeadLetterAdmin, reader: OutcomeReader, topics: Iterable[TopicKind]
    ) -> None:
        self._admin = admin
        self._reader = reader
        kinds = set(topics)
        self._readings = []
        if INGEST_TOPIC in kinds:
            inputs = self._partitions({INGEST_TOPIC})
            self._readings.append(_Reading("ingest", "ingest", admin.ingest_reader, inputs))
        inputs = self._partitions(kinds - {INGEST_TOPIC})
        self._readings.append(_Reading("score", "a scorer", admin.reader, inputs))

    def _partitions(self, kinds: set[TopicKind]) -> list[InputPartition]:
        return [
            InputPartition(self._admin.topic(kind), partition)
            for kind in sorted(kinds)
            for partition in range(self._admin.partitions)
        ]

    def records(self, *, exact: bool = False) -> int:
        """Return the number of records that wait for a worker.

        Args:
            exact: do not count transaction markers. Otherwise a few of them may be included.
        """
        # In the order of the flow, so that no record that is passed on is missed.
        return sum(
            self._remaining(one, self._visible_ends(one) if number else self._ends(one), exact)
            for number, one in enumerate(self._readings)
        )

    def wait_until_below(self, limit: int, *, exact: bool = False) -> None:
        """Wait until at most `limit` of the records that are there now wait for a worker.

        Raises:
            ReplayError: no worker has read any of them for `STALL_SECONDS`.
        """
        for one in self._readings:
            self._wait(one, limit // len(self._readings), exact)
        self._reader.poll()

    def _wait(self, reading: _Reading, limit: int, exact: bool) -> None:
        ends, previous, changed_at = self._visible_ends(reading), -1, monotonic()
        while (remaining := self._remaining(reading, ends, exact)) > limit:
            if remaining != previous:
                previous, changed_at = remaining, monotonic()
            elif monotonic() - changed_at > STALL_SECONDS:
                raise ReplayError(
                    f"{remaining:,} records wait for {reading.worker}, and none was read "
                    f"for {STALL_SECONDS:.0f} s",
                    f"Start workers (`stream-app worker PIPELINE --role {reading.role}`), "
                    "and repeat the command to resume",
                )
            self._reader.poll()
            sleep(_POLL_SECONDS)

    def _ends(self, reading: _Reading) -> dict[InputPartition, tuple[int, int]]:
        return {partition: reading.reader.ends(partition) for partition in reading.inputs}

    def _visible_ends(self, reading: _Reading) -> dict[InputPartition, tuple[int, int]]:
        """Return the ends once what was committed before this call is below them."""
        for partition in reading.inputs:
            reading.reader.wait_until_stable(partition, VISIBLE_SECONDS)
        return self._ends(reading)

    def _remaining(
        self, reading: _Reading, ends: Mapping[InputPartition, tuple[int, int]], exact: bool
    ) -> int:
        committed = reading.reader.committed(reading.inputs)
        unread = {
            (partition.topic, partition.partition): (start, end)
            for partition, (low, end) in ends.items()
            if (start := max(low, committed[partition])) < end
        }
        offsets = sum(end - start for start, end in unread.values())
        if exact and 0 < offsets <= _MAX_MARKERS * len(unread):
            return self._admin.count_records(unread)
        return offsets


def replay_result(
    operation: Operation,
    progress: ReplayProgress,
    outcomes: ReplayOutcomes,
    counted: Mapping[str, int],
    *,
    backlog: int,
    retrying: int,
) -> ReplayResult:
    """Return the result of a replay as far as it is known.

    While workers have a backlog, records without an outcome are pending. After that, a sent event
    without an outcome is either retried or a duplicate, which leaves no trace.

    Args:
        counted: outcomes that the workers count, see `ReplayedRecords`.
        backlog: records of the pipeline that wait for a worker, of any origin.
        retrying: events of the pipeline that wait for another attempt, of any origin.
    """
    failed = outcomes.all_failed
    known = ReplayResult(
        operation.id,
        progress.sent,
        outcomes.passed + counted.get("joined", 0),
        dict(failed),
        # A label that contradicts an assumed one comes second, too.
        counted.get("duplicate", 0) + counted.get("contradicting", 0),
        0,
        0,
        counted.get("expired", 0),
        counted.get("waiting", 0),
        counted.get("filtered", 0) + counted.get("label_filtered", 0),
        counted.get("tombstone", 0) + counted.get("label_tombstone", 0),
    )
    settled = known.passed + failed.total() + known.duplicates + known.expired + known.waiting
    settled += known.filtered + known.tombstones
    if backlog:
        return known._replace(pending=max(0, progress.sent - settled))
    left_out = counted.get("filtered", 0) + counted.get("tombstone", 0)
    silent = max(0, progress.events - outcomes.passed - outcomes.failed.total() - left_out)
    retried = min(silent, retrying)
    return known._replace(
        duplicates=known.duplicates + silent - retried,
        retrying=retried,
        pending=max(0, progress.sent - settled - silent),
    )
