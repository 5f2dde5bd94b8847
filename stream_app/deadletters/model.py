"""The model that dead letters are tried with."""

from typing import NamedTuple

from stream_app.clients.kafka import ConnectionErrors, bootstrap_servers, make_consumer
from stream_app.clients.offsets import bounds, find_partitions
from stream_app.core.predict import Model
from stream_app.errors import ModelError, StoreError, TopicsError
from stream_app.fingerprint import fingerprint
from stream_app.models.artifacts import pipeline_store
from stream_app.models.loaded import LoadedModel, load_version
from stream_app.models.manifest import Manifest
from stream_app.pipeline import Pipeline
from stream_app.settings import Settings
from stream_app.status.models import champion
from stream_app.status.tail import Tail
from stream_app.topics import topic_name


class Chosen(NamedTuple):
    """A model, and which it is, for people."""

    model: Model
    name: str


def present_model(settings: Settings, pipeline: Pipeline) -> Chosen:
    """The champion of a loaded pipeline; a fresh model if there is none, or it cannot be loaded.

    Raises `AccessError` if its topic may not be read, `KafkaUnavailableError` if the cluster is away.
    """
    now = fingerprint(pipeline)
    manifest = _champion(settings, pipeline.name)
    if manifest is None:
        return Chosen(_fresh(pipeline, now), "an untrained model, for no version is published")
    try:
        loaded = load_version(pipeline_store(settings, pipeline.name), manifest, pipeline, now)
    except (ModelError, StoreError) as error:
        return Chosen(
            _fresh(pipeline, now), f"an untrained model, for version {manifest.version} does not load: {error}"
        )
    return Chosen(loaded, f"version {manifest.version}")


def _champion(settings: Settings, pipeline: str) -> Manifest | None:
    errors = ConnectionErrors(bootstrap_servers(settings), settings.kafka)
    consumer = make_consumer(settings, errors, fetch_wait_max_ms=50)
    try:
        limits = bounds(consumer, errors, find_partitions(consumer, errors, [topic_name(pipeline, "models")]))
        return champion(Tail(consumer, errors), limits)
    except TopicsError:
        return None
    finally:
        consumer.close()


def _fresh(pipeline: Pipeline, now: str) -> LoadedModel:
    return LoadedModel(pipeline.name, 0, now, pipeline.model())
