"""A pipeline's dead letters, as commands get at them: their index, their bytes, and what was done about them."""

import logging
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path

from confluent_kafka import Consumer

from stream_app.dead_letters.dead_letter_reader import DeadLetterReader
from stream_app.dead_letters.index import Index
from stream_app.dead_letters.indexing import Indexer, Say
from stream_app.dead_letters.ledger import Ledger
from stream_app.dead_letters.registry_schemas import registry_schemas
from stream_app.errors import TopicsError
from stream_app.kafka.clients import ConnectionErrors, bootstrap_servers, make_consumer
from stream_app.kafka.offsets import bounds, cluster_id, find_partitions
from stream_app.kafka.topics import topic_name
from stream_app.pipeline import Pipeline
from stream_app.settings import Settings
from stream_app.transfer.consume import between

_LOG = logging.getLogger(__name__)
_FETCH_MS = 50  # with more, a partition without news holds up the others
_AHEAD_KB = 16_384  # of a partition, fetched ahead


class DeadLetters:
    """`index` is up to date as of opening; `letters` reads bytes, `ledger` tells what was done. For one thread."""

    def __init__(
        self, settings: Settings, pipeline: Pipeline, say: Say, open_until: ExitStack
    ) -> None:
        """Raises as `open_dead_letters`."""
        self._settings = settings
        self._name = pipeline.name
        self._open_until = open_until
        self._schemas = registry_schemas(settings)
        self._consumer, self._errors = open_until.enter_context(_consumer(settings))
        self.ledger = self._read_ledger()
        file = _file(settings, cluster_id(self._consumer, self._errors), pipeline.name)
        indexer = Indexer(file, self._consumer, self._errors, pipeline, say)
        self.index = Index(
            indexer,
            DeadLetterReader(self._consumer, self._errors, pipeline.name, self._schemas),
            say,
        )
        open_until.callback(self.index.close)

    @cached_property
    def letters(self) -> DeadLetterReader:
        """With a consumer of its own, for the index may read while it is read."""
        return DeadLetterReader(
            *self._open_until.enter_context(_consumer(self._settings)), self._name, self._schemas
        )

    def _read_ledger(self) -> Ledger:
        """Nothing has been done where there is no topic for it yet."""
        try:
            places = find_partitions(
                self._consumer, self._errors, [topic_name(self._name, "replays")]
            )
        except TopicsError:
            return Ledger(())
        batches = between(
            self._consumer, self._errors, bounds(self._consumer, self._errors, places)
        )
        return Ledger((message.key(), message.value()) for batch in batches for message in batch)


@contextmanager
def open_dead_letters(
    settings: Settings, pipeline: Pipeline, say: Say = _LOG.warning
) -> Iterator[DeadLetters]:
    """The dead letters of a loaded pipeline; its index is brought up to date first, which shows its progress.

    `say` gets a line when the index has to be built anew, and the like. Raises `TopicsError` for a missing topic,
    `AccessError` if the cluster refuses us, `KafkaUnavailableError` if it is away, `OutputError` if the index cannot
    be written.
    """
    with ExitStack() as open_until:
        yield DeadLetters(settings, pipeline, say, open_until)


@contextmanager
def _consumer(settings: Settings) -> Iterator[tuple[Consumer, ConnectionErrors]]:
    errors = ConnectionErrors(bootstrap_servers(settings), settings.kafka)
    consumer = make_consumer(
        settings, errors, fetch_wait_max_ms=_FETCH_MS, queued_max_messages_kbytes=_AHEAD_KB
    )
    try:
        yield consumer, errors
    finally:
        consumer.close()


def _file(settings: Settings, cluster: str, pipeline: str) -> Path:
    """Apart by cluster, for pipelines of the same name."""
    return (
        settings.data_dir / "dead-letters" / re.sub(r"[^\w-]", "_", cluster) / f"{pipeline}.sqlite"
    )
