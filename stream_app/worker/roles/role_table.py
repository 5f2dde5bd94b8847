"""The roles: which topics each one reads, how partitions share a task, and what a task does."""

from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any, NamedTuple, Protocol

from stream_app.core.scoring.partition_state import PartitionState
from stream_app.core.scoring.scorer import Scorer
from stream_app.kafka.log_reader import LogReader
from stream_app.kafka.topics import topic_name
from stream_app.model_store.artifacts import pipeline_store
from stream_app.model_store.key_files import trusted_keys
from stream_app.model_store.manifest import Manifest
from stream_app.model_store.model_loading import load_version
from stream_app.pipeline import Pipeline
from stream_app.schema_registry import open_registry
from stream_app.schema_registry.schema_cache import SchemaCache
from stream_app.settings import Settings
from stream_app.telemetry.metrics import STATE_LIMIT, app_version
from stream_app.worker.model_follower import ModelFollower
from stream_app.worker.processor import Processor
from stream_app.worker.quarantine.example_guard import ExampleGuard
from stream_app.worker.quarantine.quarantine import Quarantine
from stream_app.worker.quarantine.record_guard import RecordGuard
from stream_app.worker.roles.event_breaker import EventBreaker
from stream_app.worker.roles.last_good import LastGood
from stream_app.worker.roles.model_override import ModelOverrides
from stream_app.worker.roles.output_encoders import OutputEncoders
from stream_app.worker.roles.reporter import TaskReporter
from stream_app.worker.roles.score_processor import ScoreProcessor


class Partition(Protocol):
    """Anything with a partition number."""

    @property
    def partition(self) -> int: ...


class WorkerContext:
    """What the processors of one worker share."""

    def __init__(
        self,
        pipeline: Pipeline,
        fingerprint: str,
        settings: Settings,
        reader: LogReader,
        config: Mapping[str, Any],
        group: str,
        failed: Callable[[BaseException], None],
        isolation: Quarantine,
    ) -> None:
        self.pipeline = pipeline
        self.fingerprint = fingerprint
        self.settings = settings
        self.reader = reader
        self.group = group
        avro = pipeline.format == "avro"
        self.registry = open_registry(settings.registry) if avro or settings.registry.url else None
        self.schemas = SchemaCache(self.registry)
        self.writers = OutputEncoders()
        self.store = pipeline_store(settings, pipeline.name)
        self.trusted = trusted_keys(settings, pipeline.name)
        self.isolation = isolation
        self.failed = failed
        falls_back = pipeline.fallback is not None and pipeline.fallback.last_good
        models = topic_name(pipeline.name, "models")
        self.follower = ModelFollower(config, models, self._load, failed, keep_before=falls_back)

    def _load(self, manifest: Manifest) -> Any:
        return load_version(self.store, manifest, self.pipeline, self.fingerprint, self.trusted)

    def unready(self) -> list[str]:
        """Why no record can be processed yet."""
        if self.writers.problem is not None:
            return [self.writers.problem]
        if not self.follower.is_alive() or self.follower.current is not None:
            return []
        return [str(self.follower.problem or "waiting for a model version")]


class Role(NamedTuple):
    """One kind of worker; `inputs` are topic kinds, `prepare` blocks until the worker may join its group."""

    name: str
    inputs: tuple[str, ...]
    group_of: Callable[[Partition], int]
    prepare: Callable[[WorkerContext], None]
    make: Callable[[WorkerContext, int], Processor]


def _await_writers(setting: WorkerContext) -> None:
    """What is written in Avro needs the registry's ids."""
    if setting.pipeline.format == "avro" and setting.registry is not None:
        setting.writers.use_avro(setting.pipeline.name, setting.registry, setting.schemas)


def _await_writers_watched(setting: WorkerContext) -> None:
    """A learner that an example ends is started again; before, somebody has to end it if it hangs."""
    setting.isolation.start(setting.failed, tries=False)
    _await_writers(setting)


def _await_model(setting: WorkerContext) -> None:
    """A scorer joins when it has a model, never silently untrained."""
    setting.isolation.serving = lambda: setting.follower.manifest
    setting.isolation.start(setting.failed, tries=True)
    _await_writers(setting)
    setting.follower.start()
    setting.follower.settled.wait()
    setting.follower.model()


def _make_scorer(setting: WorkerContext, partition: int) -> Processor:
    pipeline, settings = setting.pipeline, setting.settings
    milliseconds = 1000
    STATE_LIMIT.set(settings.worker.max_state_entries)
    state = PartitionState(
        partition,
        horizon=int(pipeline.label.horizon.total_seconds() * milliseconds),
        lateness=int(pipeline.label.allowed_lateness.total_seconds() * milliseconds),
        retry=pipeline.retry,
    )
    follower = setting.follower
    last_good = LastGood(state, lambda: follower.before, follower.version)
    scorer = Scorer(
        pipeline,
        setting.fingerprint,
        state,
        clock=perf_counter,
        last_good=last_good.instead_of,
        group=setting.group,
        app_version=app_version(),
        max_bytes=settings.topics.max_message_bytes - 1024,
        max_entries=settings.worker.max_state_entries,
        write=setting.writers.scored,
    )
    raw, labels, replay, state_topic = (
        topic_name(pipeline.name, kind) for kind in ("raw", "labels", "raw.replay", "score.state")
    )
    reporter = TaskReporter(pipeline.name, f"score[{partition}]", setting.writers.monitoring)
    guard = RecordGuard(setting.isolation, partition, (raw, labels, replay))
    chosen = ModelOverrides(pipeline.name, follower.model, follower.version)
    breaker = EventBreaker(pipeline.breaker, state)
    return ScoreProcessor(
        scorer,
        raw,
        labels,
        state_topic,
        setting.reader,
        follower.model,
        setting.schemas,
        reporter,
        guard,
        chosen,
        breaker,
        last_good if pipeline.fallback is not None and pipeline.fallback.last_good else None,
        lambda: follower.refused,
    )


def _make_learner(setting: WorkerContext, _: int) -> Processor:
    from stream_app.worker.roles.learn_processor import (
        LearnProcessor,  # a second of statistics that scorers need not load
    )

    return LearnProcessor(
        setting.pipeline,
        setting.fingerprint,
        setting.settings,
        setting.store,
        setting.reader,
        write=setting.writers.monitoring,
        guard=ExampleGuard(setting.isolation),
    )


def _make_monitor(setting: WorkerContext, _: int) -> Processor:
    from stream_app.worker.roles.monitor_processor import MonitorProcessor

    return MonitorProcessor(
        setting.pipeline, setting.reader, setting.schemas, setting.writers.monitoring
    )


def _partition(source: Partition) -> int:
    return source.partition


def _one(_: Partition) -> int:
    return 0


ROLES = {
    "score": Role("score", ("raw", "labels", "raw.replay"), _partition, _await_model, _make_scorer),
    "learn": Role("learn", ("examples",), _one, _await_writers_watched, _make_learner),
    "monitor": Role("monitor", ("scored", "examples"), _one, _await_writers, _make_monitor),
}
