"""Table of the roles: their input topics, the tasks of their partitions, and their processors."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from time import perf_counter
from typing import Any, NamedTuple

from stream_app.core.reading.direct_reading import Placement
from stream_app.core.reading.identity import key_is_id
from stream_app.core.scoring.dead_letter import FailureContext
from stream_app.core.scoring.partition_state import PartitionState
from stream_app.core.scoring.scorer import Scorer, ScorerConfig
from stream_app.declaration.pipeline_fingerprint import fingerprint
from stream_app.kafka.partitioner import partitioner_of
from stream_app.kafka.retrying_reader import RetryingReader
from stream_app.kafka.source_topics import DirectTopic
from stream_app.kafka.topic_uses import ROLE_INPUTS, SOURCE_ROLES
from stream_app.model_store.artifacts import ArtifactStore, pipeline_store
from stream_app.model_store.key_files import trusted_keys
from stream_app.model_store.manifest import Manifest
from stream_app.model_store.model_loading import load_version
from stream_app.pipeline import Pipeline, direct_source, ingested_topics
from stream_app.records import InputPartition
from stream_app.schema_registry import open_registry
from stream_app.schema_registry.schema_cache import SchemaCache
from stream_app.settings import Settings
from stream_app.telemetry.metrics import STATE_LIMIT, app_version
from stream_app.topic_kinds import TopicKind, topic_name
from stream_app.worker.model_follower import ModelFollower
from stream_app.worker.processor import Processor
from stream_app.worker.quarantine.quarantine import ExampleGuard, Quarantine, RecordGuard
from stream_app.worker.quarantine.trial_runs import TrialKind
from stream_app.worker.roles.alarm_follower import AlarmFollower
from stream_app.worker.roles.direct_input import DirectInput
from stream_app.worker.roles.ingest_processor import (
    Feed,
    IngestLimits,
    IngestProcessor,
    IngestServices,
    feeds_of,
)
from stream_app.worker.roles.ingest_replay_processor import IngestReplayProcessor
from stream_app.worker.roles.output_encoders import OutputEncoders
from stream_app.worker.roles.progress_follower import ProgressFollower
from stream_app.worker.roles.reporting import TaskReporter
from stream_app.worker.roles.score_processor import ScoreProcessor
from stream_app.worker.roles.served_models import LastGood, ModelOverrides, ServedModels
from stream_app.worker.roles.source_alignment import SourceAlignment, alignment_bound
from stream_app.worker.roles.source_start import SourceStart
from stream_app.worker.source_watch import SourceWatch

# Part of a Kafka message's size limit that is left for its headers.
_HEADER_BYTES = 1024


class WorkerContext:
    """Objects that the processors of one worker share.

    Args:
        pipeline: loaded pipeline.
        settings: settings of the installation.
        reader: reader of Kafka topics.
        config: configuration of Kafka clients.
        group: consumer group of the worker.
        fatal: called with an error that must end the worker.
        quarantine: quarantine of the worker.

    Attributes:
        registry: schema registry, None if the pipeline needs none.
        encoders: encoders of scored records and measurements.
        follower: thread that loads the served model version.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        settings: Settings,
        reader: RetryingReader,
        config: Mapping[str, Any],
        group: str,
        fatal: Callable[[BaseException], None],
        quarantine: Quarantine,
    ) -> None:
        self.pipeline = pipeline
        self.fingerprint = fingerprint(pipeline)
        self.settings = settings
        self.reader = reader
        self.group = group
        self.fatal = fatal
        self.quarantine = quarantine
        avro = pipeline.format == "avro"
        self.registry = open_registry(settings.registry) if avro or settings.registry.url else None
        self.schemas = SchemaCache(self.registry)
        self.encoders = OutputEncoders()
        self.trusted = trusted_keys(settings, pipeline.name)
        models = topic_name(pipeline.name, "models")
        self.follower = ModelFollower(
            config, models, self._load, fatal, keep_previous=self.replaces_failing_models
        )

    @cached_property
    def store(self) -> ArtifactStore:
        """Store of model artifacts; a role without models never opens it.

        Raises:
            SettingsError: it cannot be used.
        """
        return pipeline_store(self.settings, self.pipeline.name)

    @cached_property
    def feeds(self) -> dict[str, Feed]:
        """Feeds of the sources by topic; only `ingest` reads them."""
        return feeds_of(self.pipeline)

    @cached_property
    def alignment(self) -> SourceAlignment:
        """Alignment of the partitions of the sources; only `ingest` has one."""
        label = self.pipeline.label
        kept = label.horizon + label.allowed_lateness
        return SourceAlignment(alignment_bound(int(kept.total_seconds() * 1000)))

    @cached_property
    def source_watch(self) -> SourceWatch:
        """Watch over the topics of the sources that `ingest` reads; only it uses it."""
        return SourceWatch(self.settings, ingested_topics(self.pipeline))

    @cached_property
    def direct_watch(self) -> SourceWatch:
        """Watch over the topic that scorers read directly; only they use it."""
        return SourceWatch(self.settings, (), DirectTopic.of(self.pipeline))

    @property
    def replaces_failing_models(self) -> bool:
        """True if the pipeline's fallback is the last good version."""
        fallback = self.pipeline.fallback
        return fallback is not None and fallback.last_good

    def blockers(self) -> list[str]:
        """Return the reasons why no record can be processed yet, empty if there is none."""
        if self.encoders.problem is not None:
            return [self.encoders.problem]
        if not self.follower.is_alive() or self.follower.current is not None:
            return []
        return [str(self.follower.problem or "waiting for a model version")]

    def _load(self, manifest: Manifest) -> Any:
        return load_version(self.store, manifest, self.pipeline, self.fingerprint, self.trusted)


class Role(NamedTuple):
    """Kind of worker.

    Attributes:
        name: name in commands, settings and consumer groups.
        inputs: kinds of the input topics.
        group_of: returns the number of the subtask that processes an input partition; `Subtask`
            says what else than a number it may be.
        prepare: blocks until the worker may join its consumer group.
        make: returns the processor of a subtask with these inputs.
        is_guarded: True if records that crash the worker are isolated.
    """

    name: str
    inputs: tuple[TopicKind, ...]
    group_of: Callable[[InputPartition], int | str]
    prepare: Callable[[WorkerContext], None]
    make: Callable[[WorkerContext, Sequence[InputPartition]], Processor]
    is_guarded: bool = True

    def topics(self, pipeline: Pipeline) -> list[str]:
        """Return the full names of the input topics."""
        own = [topic_name(pipeline.name, kind) for kind in self.inputs]
        return own + self.foreign_topics(pipeline)

    def foreign_topics(self, pipeline: Pipeline) -> list[str]:
        """Return those of the input topics that are topics of other programs."""
        if self.name in SOURCE_ROLES:
            return ingested_topics(pipeline)
        direct = direct_source(pipeline) if self.name == "score" else None
        return [] if direct is None else [direct.topic]

    def watch(self, context: WorkerContext) -> SourceWatch | None:
        """Return the watch over those topics, None for a role that has none."""
        if self.name in SOURCE_ROLES:
            return context.source_watch
        return context.direct_watch if self.foreign_topics(context.pipeline) else None


def _prepare_encoders(context: WorkerContext) -> None:
    """Wait for the schema ids that Avro outputs need."""
    if context.pipeline.format == "avro" and context.registry is not None:
        context.encoders.use_avro(context.pipeline, context.registry, context.schemas)


def _prepare_ingest(context: WorkerContext) -> None:
    """Start the quarantine, since filters are code of the pipeline, and follow other workers."""
    context.quarantine.start(context.fatal, with_trials=True)
    _prepare_encoders(context)
    state = topic_name(context.pipeline.name, "ingest.state")
    ProgressFollower(context.reader, state, context.feeds, context.alignment).start()


def _prepare_learner(context: WorkerContext) -> None:
    """Start the watchdog, which ends a learner that hangs, and wait for the schema ids."""
    # A store that cannot be used ends the worker at once.
    _ = context.store
    context.quarantine.start(context.fatal, with_trials=False)
    _prepare_encoders(context)


def _prepare_scorer(context: WorkerContext) -> None:
    """Wait for a model version: a scorer never joins without one."""
    _ = context.store
    context.quarantine.current_manifest = lambda: context.follower.manifest
    context.quarantine.start(context.fatal, with_trials=True)
    _prepare_encoders(context)
    context.follower.start()
    context.follower.initialized.wait()
    context.follower.model()


def _make_scorer(context: WorkerContext, inputs: Sequence[InputPartition]) -> Processor:
    partition = inputs[0].partition
    pipeline, settings, follower = context.pipeline, context.settings, context.follower
    STATE_LIMIT.set(settings.worker.max_state_entries)
    state = PartitionState(
        partition,
        horizon=int(pipeline.label.horizon.total_seconds() * 1000),
        lateness=int(pipeline.label.allowed_lateness.total_seconds() * 1000),
        retry=pipeline.retry,
        idle_after=int(pipeline.label.idle_time.total_seconds() * 1000),
        keyed=not key_is_id(pipeline),
    )
    state.partitioner = partitioner_of(pipeline).name
    last_good = LastGood(state, lambda: follower.previous, follower.version)
    config = ScorerConfig(
        fingerprint=context.fingerprint,
        group=context.group,
        app_version=app_version(),
        max_bytes=settings.topics.max_message_bytes - _HEADER_BYTES,
        max_entries=settings.worker.max_state_entries,
        placement=_placement(context),
    )
    scorer = Scorer(
        pipeline, config, state, perf_counter, last_good.replacement, context.encoders.scored
    )
    models = ServedModels(
        follower.model,
        lambda: follower.rejection,
        ModelOverrides(pipeline.name, follower.model, follower.version),
        last_good if context.replaces_failing_models else None,
    )
    labels = topic_name(pipeline.name, "labels")
    kinds: dict[str, TrialKind] = {
        topic: "label" if topic == labels else "event" for topic in ROLES["score"].topics(pipeline)
    }
    processor = ScoreProcessor(
        pipeline,
        scorer,
        context.reader,
        context.schemas,
        models,
        RecordGuard(context.quarantine, partition, kinds),
        TaskReporter(pipeline.name, f"score[{partition}]", context.encoders.monitoring),
    )
    source = direct_source(pipeline)
    if source is not None:
        start = SourceStart(
            source,
            InputPartition(source.topic, partition),
            context.reader,
            context.direct_watch.id_of,
            settings.worker.accept_data_loss,
        )
        processor.read_directly(DirectInput(start))
    return processor


def _placement(context: WorkerContext) -> Placement | None:
    """Return the placement of a pipeline with a direct source, None without one."""
    if direct_source(context.pipeline) is None:
        return None
    return partitioner_of(context.pipeline).placement(context.direct_watch.partition_count)


def _make_learner(context: WorkerContext, _: Sequence[InputPartition]) -> Processor:
    # Imports statistics for about a second, which scorers need not wait for.
    from stream_app.worker.roles.learn_processor import LearnProcessor

    return LearnProcessor(
        context.pipeline,
        context.fingerprint,
        context.settings,
        context.store,
        context.reader,
        encode=context.encoders.monitoring,
        guard=ExampleGuard(context.quarantine),
    )


def _prepare_monitor(context: WorkerContext) -> None:
    """Export the states of alarms, and wait for the schema ids."""
    AlarmFollower(context.reader, topic_name(context.pipeline.name, "alarms")).start()
    _prepare_encoders(context)


def _make_monitor(context: WorkerContext, inputs: Sequence[InputPartition]) -> Processor:
    from stream_app.worker.roles.monitor_processor import MonitorProcessor

    return MonitorProcessor(
        context.pipeline, inputs, context.reader, context.schemas, context.encoders.monitoring
    )


def _make_ingest(context: WorkerContext, inputs: Sequence[InputPartition]) -> Processor:
    pipeline, settings, (source,) = context.pipeline, context.settings, inputs
    services = IngestServices(
        context.feeds,
        context.reader,
        context.schemas,
        TaskReporter(pipeline.name, f"ingest[{_each(source)}]", context.encoders.monitoring),
        FailureContext(context.group, "", context.fingerprint, app_version()),
        IngestLimits(settings.topics.max_message_bytes, settings.worker.accept_data_loss),
        context.alignment,
        RecordGuard(
            context.quarantine,
            source.partition,
            dict.fromkeys(ROLES["ingest"].topics(pipeline), "source"),
        ),
        context.source_watch.id_of,
    )
    if source.topic == topic_name(pipeline.name, "ingest.replay"):
        return IngestReplayProcessor(pipeline, source, services)
    return IngestProcessor(pipeline, source, services)


def _partition(source: InputPartition) -> int:
    return source.partition


def _single(_: InputPartition) -> int:
    return 0


def _each(source: InputPartition) -> str:
    return f"{source.topic}.{source.partition}"


ROLES = {
    "score": Role("score", ROLE_INPUTS["score"], _partition, _prepare_scorer, _make_scorer),
    "learn": Role("learn", ROLE_INPUTS["learn"], _single, _prepare_learner, _make_learner),
    "monitor": Role(
        "monitor",
        ROLE_INPUTS["monitor"],
        _single,
        _prepare_monitor,
        _make_monitor,
        is_guarded=False,
    ),
    "ingest": Role(
        "ingest",
        ROLE_INPUTS["ingest"],
        _each,
        _prepare_ingest,
        _make_ingest,
    ),
}
