"""Opens the dead letters of a pipeline: their index, a reader of their contents, and the ledger."""

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path

from stream_app.dead_letters.dead_letter_reader import DeadLetterReader
from stream_app.dead_letters.index import Index
from stream_app.dead_letters.indexer import Indexer, Notify
from stream_app.dead_letters.ledger import Ledger
from stream_app.errors import TopicsError
from stream_app.kafka.offsets import OffsetBounds
from stream_app.kafka.partition_reader import PartitionReader
from stream_app.pipeline import Pipeline
from stream_app.schema_registry.schema_cache import open_schema_cache
from stream_app.settings import Settings
from stream_app.topic_kinds import DeadLetterKind, topic_name

_LOG = logging.getLogger(__name__)

# Kilobytes of a partition that are fetched ahead.
_QUEUED_KB = 16_384


class DeadLetters:
    """Open dead letters of a pipeline, for use by one thread.

    Attributes:
        index: index, up to date as of opening.
        ledger: operations as of opening.
    """

    def __init__(
        self, settings: Settings, pipeline: Pipeline, notify: Notify, resources: ExitStack
    ) -> None:
        self._settings = settings
        self._name = pipeline.name
        self._resources = resources
        self._schemas = open_schema_cache(settings.registry)
        self._topics = resources.enter_context(_open_reader(settings))
        self.ledger = self._read_ledger()
        file = _index_path(settings, self._topics.cluster_id(), pipeline.name)
        indexer = Indexer(file, self._topics, pipeline, notify)
        reader = DeadLetterReader(self._topics, pipeline.name, self._schemas)
        self.index = Index(indexer, reader, notify)
        resources.callback(self.index.close)

    @cached_property
    def reader(self) -> DeadLetterReader:
        """Reader with its own consumer, because the index may read while this one is in use."""
        topics = self._resources.enter_context(_open_reader(self._settings))
        return DeadLetterReader(topics, self._name, self._schemas)

    def _read_ledger(self) -> Ledger:
        """Return the ledger, empty if its topic does not exist yet."""
        topic = topic_name(self._name, "replays")
        try:
            bounds = self._topics.topic_bounds([topic])
        except TopicsError:
            return Ledger(())
        records = self._topics.records(bounds)
        return Ledger((message.key(), message.value()) for message in records)


@contextmanager
def open_dead_letters(
    settings: Settings, pipeline: Pipeline, notify: Notify = _LOG.warning
) -> Iterator[DeadLetters]:
    """Open the dead letters of a loaded pipeline; the index is brought up to date first.

    Args:
        notify: takes lines for the user, e.g. that the index is rebuilt.

    Raises:
        TopicsError: a topic is missing.
        AccessError: a topic may not be read.
        KafkaUnavailableError: the cluster does not answer.
        OutputError: the index cannot be written.
    """
    with ExitStack() as resources:
        yield DeadLetters(settings, pipeline, notify, resources)


def read_open_check(
    reader: PartitionReader, bounds: OffsetBounds
) -> Callable[[DeadLetterKind, int, int], bool]:
    """Return `Ledger.is_open` as of the bounds of the ledger's topic, empty if there is none."""
    return Ledger((message.key(), message.value()) for message in reader.records(bounds)).is_open


def _open_reader(settings: Settings) -> PartitionReader:
    return PartitionReader.open(settings, queued_max_messages_kbytes=_QUEUED_KB)


def _index_path(settings: Settings, cluster: str, pipeline: str) -> Path:
    """Return the path of the index, separate for each cluster."""
    folder = settings.data_dir / "dead-letters" / re.sub(r"[^\w-]", "_", cluster)
    return folder / f"{pipeline}.sqlite"
