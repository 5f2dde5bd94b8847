"""The pipeline as it is now: its model and its scorers' books, by which dead letters are judged."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from stream_app.clients.kafka import ConnectionErrors, bootstrap_servers, make_consumer
from stream_app.clients.offsets import Limits, bounds, find_partitions
from stream_app.core.predict import Model
from stream_app.core.tasks import task_of
from stream_app.deadletters.judging import Judge
from stream_app.errors import ModelError, StoreError
from stream_app.fingerprint import fingerprint
from stream_app.models.artifacts import pipeline_store
from stream_app.models.keys import trusted_keys
from stream_app.models.loaded import LoadedModel, load_version
from stream_app.models.manifest import Manifest
from stream_app.models.registry import Registry
from stream_app.pipeline import Pipeline
from stream_app.settings import Settings
from stream_app.status.books import Sheet, read_sheets
from stream_app.status.tail import Tail
from stream_app.topics import topic_name


class Present(NamedTuple):
    """A judge, and which model it has, for people."""

    judge: Judge
    model: str


def present(settings: Settings, pipeline: Pipeline, version: int | None = None) -> Present:
    """A judge with the served version of a loaded pipeline's model, or with this version.

    Without a served version that can be loaded it has a fresh model. Raises ModelError if a chosen version cannot be
    loaded, TopicsError if there are no topics, AccessError if they may not be read, KafkaUnavailableError if the
    cluster is away.
    """
    with _tail(settings, pipeline.name, "models") as (tail, limits):
        registry = Registry.of((message.key(), message.value()) for message in tail.between(limits))
    if version is None:
        model, name = _served(settings, pipeline, registry)
    else:
        model, name = _load(settings, pipeline, registry.manifest(version), fingerprint(pipeline)), f"version {version}"
    clocks = {partition: sheet.clock for partition, sheet in read_books(settings, pipeline.name).items()}
    return Present(Judge(settings, pipeline, model, clocks), name)


def read_books(settings: Settings, pipeline: str) -> dict[int, Sheet]:
    """The books of each partition's scorer, as of its last transaction; raises as `present` does."""
    with _tail(settings, pipeline, "score.state") as (tail, limits):
        return read_sheets(tail, limits)


@contextmanager
def _tail(settings: Settings, pipeline: str, kind: str) -> Iterator[tuple[Tail, Limits]]:
    errors = ConnectionErrors(bootstrap_servers(settings), settings.kafka)
    consumer = make_consumer(settings, errors, fetch_wait_max_ms=50)
    try:
        places = find_partitions(consumer, errors, [topic_name(pipeline, kind)])
        yield Tail(consumer, errors), bounds(consumer, errors, places)
    finally:
        consumer.close()


def _served(settings: Settings, pipeline: Pipeline, registry: Registry) -> tuple[Model, str]:
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
    return load_version(pipeline_store(settings, name), manifest, pipeline, now, trusted_keys(settings, name))
