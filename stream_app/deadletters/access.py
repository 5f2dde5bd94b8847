"""A pipeline's dead letters, as commands and pages get at them."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import Consumer

from stream_app.clients.kafka import ConnectionErrors, bootstrap_servers, make_consumer
from stream_app.clients.offsets import cluster_id
from stream_app.deadletters.index import Index
from stream_app.deadletters.indexing import Indexer, Say
from stream_app.deadletters.letters import Letters
from stream_app.deadletters.schemas import registry_schemas
from stream_app.pipeline import Pipeline
from stream_app.settings import Settings

_LOG = logging.getLogger(__name__)
_FETCH_MS = 50  # with more, a partition without news holds up the others


@dataclass(frozen=True)
class DeadLetters:
    """`index` is up to date as of opening; `letters` reads bytes. For one thread."""

    index: Index
    letters: Letters


@contextmanager
def open_dead_letters(settings: Settings, pipeline: Pipeline, say: Say = _LOG.warning) -> Iterator[DeadLetters]:
    """The dead letters of a loaded pipeline; its index is brought up to date first, which shows its progress.

    `say` gets a line when the index has to be built anew, and the like. Raises `TopicsError` for a missing topic,
    `AccessError` if the cluster refuses us, `KafkaUnavailableError` if it is away, `OutputError` if the index cannot
    be written.
    """
    schemas = registry_schemas(settings)
    with _consumer(settings) as (consumer, errors), _consumer(settings) as (reading, reading_errors):
        file = _file(settings, cluster_id(consumer, errors), pipeline.name)
        indexer = Indexer(file, consumer, errors, pipeline, say)
        index = Index(indexer, Letters(consumer, errors, pipeline.name, schemas), say)
        try:
            yield DeadLetters(index, Letters(reading, reading_errors, pipeline.name, schemas))
        finally:
            index.close()


@contextmanager
def _consumer(settings: Settings) -> Iterator[tuple[Consumer, ConnectionErrors]]:
    errors = ConnectionErrors(bootstrap_servers(settings), settings.kafka)
    consumer = make_consumer(settings, errors, fetch_wait_max_ms=_FETCH_MS)
    try:
        yield consumer, errors
    finally:
        consumer.close()


def _file(settings: Settings, cluster: str, pipeline: str) -> Path:
    """Apart by cluster, for pipelines of the same name."""
    return settings.data_dir / "dead-letters" / re.sub(r"[^\w-]", "_", cluster) / f"{pipeline}.sqlite"
