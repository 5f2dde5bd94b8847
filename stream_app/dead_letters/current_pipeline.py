"""The pipeline as it is now: its model and its scorers' books, by which dead letters are judged."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from stream_app.core.evaluation.prediction_tasks import task_of
from stream_app.core.scoring.predictor import Model
from stream_app.dead_letters.evaluation import RecordEvaluator
from stream_app.declaration.pipeline_fingerprint import fingerprint
from stream_app.errors import ModelError, StoreError
from stream_app.kafka.clients import ConnectionErrors, bootstrap_servers, make_consumer
from stream_app.kafka.offsets import Limits, bounds, find_partitions
from stream_app.kafka.topics import topic_name
from stream_app.model_store.artifacts import pipeline_store
from stream_app.model_store.key_files import trusted_keys
from stream_app.model_store.manifest import Manifest
from stream_app.model_store.model_loading import LoadedModel, load_version
from stream_app.model_store.model_registry import ModelRegistry
from stream_app.pipeline import Pipeline
from stream_app.settings import Settings
from stream_app.status.newest_records import NewestRecords
from stream_app.status.record_counts_reading import PartitionCounts, read_sheets


class CurrentPipeline(NamedTuple):
    """A judge, and which model it has, for people."""

    judge: RecordEvaluator
    model: str


def present(settings: Settings, pipeline: Pipeline, version: int | None = None) -> CurrentPipeline:
    """A judge with the served version of a loaded pipeline's model, or with this version.

    Without a served version that can be loaded it has a fresh model. Raises ModelError if a chosen version cannot be
    loaded, TopicsError if there are no topics, AccessError if they may not be read, KafkaUnavailableError if the
    cluster is away.
    """
    with _tail(settings, pipeline.name, "models") as (tail, limits):
        registry = ModelRegistry.of(
            (message.key(), message.value()) for message in tail.between(limits)
        )
    if version is None:
        model, name = _served(settings, pipeline, registry)
    else:
        model, name = (
            _load(settings, pipeline, registry.manifest(version), fingerprint(pipeline)),
            f"version {version}",
        )
    clocks = {
        partition: sheet.clock for partition, sheet in read_books(settings, pipeline.name).items()
    }
    return CurrentPipeline(RecordEvaluator(settings, pipeline, model, clocks), name)


def read_books(settings: Settings, pipeline: str) -> dict[int, PartitionCounts]:
    """The books of each partition's scorer, as of its last transaction; raises as `present` does."""
    with _tail(settings, pipeline, "score.state") as (tail, limits):
        return read_sheets(tail, limits)


@contextmanager
def _tail(settings: Settings, pipeline: str, kind: str) -> Iterator[tuple[NewestRecords, Limits]]:
    errors = ConnectionErrors(bootstrap_servers(settings), settings.kafka)
    consumer = make_consumer(settings, errors, fetch_wait_max_ms=50)
    try:
        places = find_partitions(consumer, errors, [topic_name(pipeline, kind)])
        yield NewestRecords(consumer, errors), bounds(consumer, errors, places)
    finally:
        consumer.close()


def _served(settings: Settings, pipeline: Pipeline, registry: ModelRegistry) -> tuple[Model, str]:
    now, version = fingerprint(pipeline), registry.served
    fresh = LoadedModel(pipeline.name, 0, now, pipeline.model(), task_of(pipeline))
    if version is None:
        return fresh, "an untrained model, for no version is served"
    try:
        model = _load(settings, pipeline, registry.current, now)
    except (ModelError, StoreError) as error:
        return fresh, f"an untrained model, for version {version} does not load: {error}"
    return model, f"version {version}"


def _load(settings: Settings, pipeline: Pipeline, manifest: Manifest, now: str) -> LoadedModel:
    name = pipeline.name
    return load_version(
        pipeline_store(settings, name), manifest, pipeline, now, trusted_keys(settings, name)
    )
