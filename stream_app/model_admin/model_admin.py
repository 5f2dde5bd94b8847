"""Where decisions about models are taken: connections to one pipeline, and the transaction that a decision is."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import orjson
from confluent_kafka import Message

from stream_app.errors import FencedError, ModelError, StreamAppError
from stream_app.fault_points import reached
from stream_app.kafka.client_config import client_config
from stream_app.kafka.clients import ConnectionErrors
from stream_app.kafka.offsets import VISIBLE_SECONDS, is_stable, open_transaction
from stream_app.kafka.reader import SILENCE_SECONDS, PartitionReader
from stream_app.model_store.manifest import CHECKPOINT_KEY, Checkpoint
from stream_app.model_store.model_registry import ModelRegistry
from stream_app.records import ENVELOPE_BYTES, Output
from stream_app.settings import Settings
from stream_app.status.pipeline_view import RegistryReader
from stream_app.telemetry.logs import get_logger
from stream_app.topic_kinds import TopicKind, topic_name
from stream_app.worker.transaction_writer import TransactionWriter

log = get_logger(__name__)

_USED: tuple[TopicKind, ...] = ("models", "examples", "audit")
_TRANSACTION_MS = (
    10_000  # a command that died holds readers of these topics back for so long at most
)
_GRACE = 15.0  # seconds in which the broker notices that a transaction has timed out

Make = Callable[[ModelRegistry], list[Output]]
"""What is to be written, given the registry as it is in the transaction."""


class ModelAdmin:
    """One pipeline's registry and log of examples, and decisions about them; every topic read has one partition.

    Raises `TopicsError` if the topics are not there, `AccessError` and `KafkaUnavailableError` as every client. To be
    kept until the end of the process: to let go of a connection takes librdkafka up to a second.
    """

    def __init__(self, settings: Settings, name: str) -> None:
        self.settings = settings
        self.name = name
        config = client_config(settings)
        self._errors = ConnectionErrors(config["bootstrap.servers"], settings.kafka)
        self._config: dict[str, Any] = {**config, "error_cb": self._errors}
        self._written = PartitionReader(
            config, errors=self._errors, isolation_level="read_uncommitted"
        )
        self._reader = PartitionReader(
            config, f"{name}-learn", errors=self._errors, silence=SILENCE_SECONDS
        )
        self._registry = RegistryReader(self._reader)
        self._writers: list[TransactionWriter] = []
        self._reader.find_partitions([self.topic(kind) for kind in _USED])

    def topic(self, kind: TopicKind) -> str:
        """Full name of one of the pipeline's topics."""
        return topic_name(self.name, kind)

    def ends(self, kind: TopicKind) -> tuple[int, int]:
        """Of a topic the first offset still there, and the one after the last that is stable."""
        place = (self.topic(kind), 0)
        return self._reader.bounds([place])[place]

    def read(self, kind: TopicKind, start: int, end: int) -> Iterator[Message]:
        """The records of a topic with start <= offset < end."""
        return self._reader.records({(self.topic(kind), 0): (start, end)})

    def read_all(self, kind: TopicKind) -> Iterator[tuple[bytes | None, bytes | None]]:
        """Key and value of all of its records, up to its present end."""
        return ((message.key(), message.value()) for message in self.read(kind, *self.ends(kind)))

    def registry(self, *, settled: bool = False) -> ModelRegistry:
        """As it is now; when `settled`, nothing that was written before is hidden by a transaction still open.

        Raises FencedError if one stays open for long.
        """
        if settled and not self._is_settled("models", _TRANSACTION_MS / 1000 + _GRACE):
            raise open_transaction(self.topic("models"))
        return self._registry.read((self.topic("models"), 0), *self.ends("models"))

    def learned_to(self) -> int | None:
        """The offset of the first example that the learner has not processed; None before it has processed any."""
        return self._reader.committed((self.topic("examples"), 0))

    def checkpoint(self) -> Checkpoint | None:
        """The learner's newest."""
        self._reader.find_partitions([self.topic("learn.state")])
        found = dict(self.read_all("learn.state")).get(CHECKPOINT_KEY.encode())
        return None if found is None else Checkpoint.decode(found)

    def acts(self) -> list[dict[str, Any]]:
        """What the audit has, oldest first; ModelError if a record of it cannot be read."""
        try:
            return [orjson.loads(value) for _, value in self.read_all("audit") if value is not None]
        except ValueError:
            raise ModelError(
                f"A record of {self.topic('audit')} cannot be read", "Was it written to by hand?"
            ) from None

    def decide(self, make: Make) -> None:
        """Write what `make` decides, in one transaction; nobody else can decide in between.

        Of two who try at once, one is refused with `FencedError`. `make` may refuse by raising.
        """
        try:
            writer = self._writer()
            reached("decision-begun")
            outputs = make(self.registry(settled=True))
            writer.write(outputs)
            reached("decision-written")
            writer.commit({}, None)
        except FencedError as error:
            raise changed_meanwhile() from error
        self._committed(outputs)

    def number(
        self,
        first: Callable[[ModelRegistry], Output],
        make: Callable[[ModelRegistry, int], list[Output]],
    ) -> int:
        """Write `first`, then what `make` makes of its offset, in one transaction; returns that offset.

        It is none that a version has as its number already. After FencedError and KafkaUnavailableError nothing is
        written.
        """
        try:
            writer = self._writer()
            registry = self.registry(settled=True)
            while (offset := writer.write_first(first(registry))) in registry.versions:
                writer.abort()
            reached("decision-begun")
            outputs = make(registry, offset)
            writer.write(outputs)
            reached("decision-written")
            writer.commit_once()
        except FencedError as error:
            raise changed_meanwhile() from error
        self._committed(outputs)
        return offset

    def _is_settled(self, kind: TopicKind, patience: float) -> bool:
        """Whether nothing that is written to a topic now is in an open transaction, within `patience` seconds."""
        place = (self.topic(kind), 0)
        _, written = self._written.bounds([place])[place]
        return is_stable(lambda: self.ends(kind)[1], written, patience)

    def _committed(self, outputs: list[Output]) -> None:
        """Log what was decided; who looks after the command sees it."""
        reached("decision-committed")
        _log_acts(outputs)
        with suppress(StreamAppError):  # it is decided, whether or not the cluster still answers
            for kind in _USED:
                self._is_settled(kind, VISIBLE_SECONDS)

    def _writer(self) -> TransactionWriter:
        """A writer that has fenced whoever decided before."""
        config = {
            **self._config,
            "transaction.timeout.ms": _TRANSACTION_MS,
            "message.max.bytes": self.settings.topics.max_message_bytes + 2 * ENVELOPE_BYTES,
        }
        writer = TransactionWriter(config, f"{self.name}-aliases", self.topic, _USED)
        self._writers.append(writer)
        writer.take_over()
        return writer


def _log_acts(outputs: list[Output]) -> None:
    for output in outputs:
        if output.topic == "audit":
            fields = orjson.loads(output.value or b"")
            log.info("models: " + fields.pop("act"), **fields.pop("counts"), **fields)


def changed_meanwhile() -> FencedError:
    """The error of a decision that somebody else's has overtaken."""
    return FencedError(
        "The registry has changed meanwhile: somebody else has decided in the same moment",
        "Look again (`stream-app models list PIPELINE`), and repeat the command if it is still meant",
    )
