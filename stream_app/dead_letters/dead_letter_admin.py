"""Where dead letters are acted on: connections to one pipeline's ledger, writing decisions into it, and the audit."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import orjson
from confluent_kafka import Consumer

from stream_app.dead_letters.current_pipeline import read_books
from stream_app.dead_letters.ledger import Change, Ledger, act_records
from stream_app.dead_letters.operations import Letters, Operation, place_text
from stream_app.dead_letters.replay_outcomes import WATCHED
from stream_app.errors import FencedError, SelectionError, StreamAppError
from stream_app.formatting import iso_time
from stream_app.kafka.clients import ConnectionErrors, client_config, make_consumer
from stream_app.kafka.log_reader import LogReader
from stream_app.kafka.offsets import Limits, find_partitions
from stream_app.kafka.stable_offsets import SHOWN_SECONDS, still_open
from stream_app.kafka.topics import topic_name
from stream_app.records import ENVELOPE_BYTES, InputPartition, Output
from stream_app.settings import Settings
from stream_app.telemetry.logs import get_logger
from stream_app.transfer.consume import between
from stream_app.worker.transaction_writer import TransactionWriter

log = get_logger(__name__)

_NEEDED = ("raw.replay", "audit", "replays")
_TRANSACTION_MS = 30_000  # a sender that died holds readers of its topics back for so long at most
_GRACE = 15.0  # seconds in which the broker notices that a transaction has timed out

Decision = tuple[Operation, Letters, Mapping[str, int]]
"""An act, its letters, and the counts for the audit."""


class DeadLetterAdmin:
    """The ledger of the pipeline `name`, and writers of it; `reader` also tells what its scorers have committed.

    Raises `TopicsError` if the topics are not there, `AccessError` and `KafkaUnavailableError` as every client.
    """

    def __init__(self, settings: Settings, name: str) -> None:
        self.settings = settings
        self.name = name
        config = client_config(settings)
        errors = ConnectionErrors(config["bootstrap.servers"], settings.kafka)
        self.config: dict[str, Any] = {**config, "error_cb": errors}
        self._errors = errors
        self._counting = make_consumer(settings, errors, fetch_wait_max_ms=50)
        places = find_partitions(self._counting, errors, [self.topic(kind) for kind in _NEEDED])
        self.partitions = sum(topic == self.topic("raw.replay") for topic, _ in places)
        self.reader = LogReader(self.config, f"{name}-score")
        self._place = InputPartition(self.topic("replays"), 0)  # of the ledger

    def topic(self, kind: str) -> str:
        """Full name of one of the pipeline's topics."""
        return topic_name(self.name, kind)

    def count(self, limits: Limits) -> int:
        """How many records there are with start <= offset < end, markers of transactions left out."""
        return sum(map(len, between(self._counting, self._errors, limits)))

    @contextmanager
    def consumer(self) -> Iterator[tuple[Consumer, ConnectionErrors]]:
        """One that nothing else uses, and what it reports."""
        consumer = make_consumer(self.settings, self._errors, fetch_wait_max_ms=50)
        try:
            yield consumer, self._errors
        finally:
            consumer.close()

    def ledger(self, *, settled: bool = False) -> Ledger:
        """As it is now; when `settled`, nothing that was written before is hidden by a transaction still open.

        Raises FencedError if one stays open for long.
        """
        if settled and not self.reader.is_settled(self._place, _TRANSACTION_MS / 1000 + _GRACE):
            raise still_open(self._place.topic)
        return Ledger.read(self.reader, self.name)

    def watched_ends(self) -> dict[str, int]:
        """Where the topics end that tell what became of records, by "kind/partition"."""
        places = [(kind, partition) for kind in WATCHED for partition in range(self.partitions)]
        return {
            place_text(*place): self.reader.ends(InputPartition(self.topic(place[0]), place[1]))[1]
            for place in places
        }

    def retrying(self) -> int:
        """Events that wait to be tried again, of this pipeline as a whole."""
        return sum(
            sheet.tallies.retrying for sheet in read_books(self.settings, self.name).values()
        )

    def writer(self, transactional_id: str) -> TransactionWriter:
        """A writer that has fenced whoever wrote under this id before."""
        topics = self.settings.topics
        config = {
            **self.config,
            "transaction.timeout.ms": _TRANSACTION_MS,
            "message.max.bytes": topics.max_message_bytes + 2 * ENVELOPE_BYTES,
            "batch.size": min(
                100_000, topics.max_message_bytes
            ),  # sent while the next ones are made
        }
        writer = TransactionWriter(config, transactional_id, self.topic)
        writer.take_over()
        return writer

    def decide(self, make: Callable[[Ledger], list[Decision]]) -> Ledger:
        """Write what `make` decides from the ledger; returns the ledger it saw.

        Nobody else can decide in between: of two who try, the first one is refused with `FencedError`.
        """
        try:
            writer = self.writer(f"{self.name}-replays")
            ledger = self.ledger(settled=True)
            decisions = make(ledger)
            if decisions:
                audits = self.write_acts(writer, decisions)
                writer.commit({}, None)
        except FencedError:
            raise FencedError(
                "Somebody else has decided about dead letters in the same moment",
                "Look again, and repeat the command",
            ) from None
        if decisions:
            for audit in audits:
                log_act(audit)
            with suppress(
                StreamAppError
            ):  # it is decided, whether or not the cluster still answers
                self.reader.is_settled(
                    self._place, SHOWN_SECONDS
                )  # so that who looks after the command sees it
        return ledger

    def write_acts(self, writer: TransactionWriter, decisions: list[Decision]) -> list[Output]:
        """Put acts and their audits into the open transaction; returns the audits."""
        outputs = [
            ledger_output(change)
            for act, letters, _ in decisions
            for change in act_records(act, letters)
        ]
        limit = self.settings.topics.max_message_bytes + ENVELOPE_BYTES // 2
        if any(len(output.value or b"") > limit for output in outputs):
            raise SelectionError(
                "These are too many dead letters for one act", "Select fewer, e.g. with --until"
            )
        audits = [
            audit_record(self.name, act, act.kind, act.who, act.why, act.at, counts)
            for act, _, counts in decisions
        ]
        writer.write(outputs + audits)
        return audits


def ledger_output(change: Change) -> Output:
    """A record of the ledger as it is written."""
    key, value = change
    return Output("replays", 0, key, value)


def audit_record(
    pipeline: str, act: Operation, done: str, who: str, why: str, at: int, counts: Mapping[str, int]
) -> Output:
    """A record of `schemas/audit.avsc`: what was `done` about an act (it itself, or later stop or finish), by whom."""
    value: dict[str, Any] = {
        "id": act.id,
        "act": done,
        "pipeline": pipeline,
        "at": iso_time(at),
        "who": who,
        "what": act.what,
        "why": why,
        "counts": dict(counts),
        "options": {
            name: str(option)
            for name, option in act.options.items()
            if name not in ("edit_source", "since")
        },
    }
    return Output("audit", 0, act.id.encode(), orjson.dumps(value))


def log_act(record: Output) -> None:
    """Say the same in the log."""
    fields = orjson.loads(record.value or b"")
    log.info("dead letters: " + fields.pop("act"), **fields.pop("counts"), **fields)
