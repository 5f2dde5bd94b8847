"""Simulation of a pipeline over what its topics have now."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from stream_app.clock import now_ms
from stream_app.core.learning.learning_rules import LearningRules
from stream_app.errors import TopicsError
from stream_app.kafka.partition_reader import PartitionReader
from stream_app.offline.simulation import Simulation
from stream_app.offline.topic_lines import LogRange, TopicLines
from stream_app.pipeline import Pipeline
from stream_app.schema_registry.schema_cache import open_schema_cache
from stream_app.settings import Settings
from stream_app.status.pipeline_view import RegistryReader
from stream_app.topic_kinds import topic_name

# Labels that are kept in memory, to be learned in the order in which they became known.
LABELS_AHEAD = 50_000
# Bytes that librdkafka fetches ahead, in KiB.
_FETCHED_KIB = 16 * 1024


class TopicSimulation(NamedTuple):
    """Simulation, and the events and labels that it reads."""

    simulation: Simulation
    events: TopicLines
    labels: TopicLines

    @property
    def inputs(self) -> list[LogRange]:
        """Offsets of all partitions that were read."""
        return [*self.events.ranges, *self.labels.ranges]

    @property
    def deleted(self) -> int:
        """Number of offsets that retention deleted before they were read."""
        return self.events.deleted + self.labels.deleted


@contextmanager
def open_topic_simulation(settings: Settings, pipeline: Pipeline) -> Iterator[TopicSimulation]:
    """Open a simulation of the events and labels that the topics have now.

    It learns no label of a source that is paused now, and none that is excluded now.

    Args:
        settings: connection to the cluster and to the schema registry.
        pipeline: loaded pipeline.

    Raises:
        InputError, TopicsError, AccessError, KafkaUnavailableError: as `TopicLines`.
    """
    schemas = open_schema_cache(settings.registry)
    with (
        PartitionReader.open(settings, queued_max_messages_kbytes=_FETCHED_KIB) as event_reader,
        PartitionReader.open(settings, queued_max_messages_kbytes=_FETCHED_KIB) as label_reader,
    ):
        # The labels of all events that are read, so that none seems to have none.
        events = TopicLines(event_reader, pipeline, "event", schemas)
        labels = TopicLines(label_reader, pipeline, "label", schemas)
        simulation = Simulation(
            pipeline, events, labels, now_ms(), schemas, labels_ahead=LABELS_AHEAD
        )
        simulation.engine.set_rules(_rules(event_reader, pipeline))
        yield TopicSimulation(simulation, events, labels)


def _rules(reader: PartitionReader, pipeline: Pipeline) -> LearningRules:
    """Return the pauses of sources and the exclusions in force; none before there are versions."""
    models = topic_name(pipeline.name, "models")
    try:
        bounds = reader.topic_bounds([models])
    except TopicsError:
        return LearningRules()
    return RegistryReader(reader).read((models, 0), *bounds[models, 0]).rules
