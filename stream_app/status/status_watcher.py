"""Repeated status of a pipeline, with the rates between two looks."""

import time

from stream_app.clock import now_ms
from stream_app.errors import RegistryError, StreamAppError
from stream_app.formatting import iso_time, seconds_since
from stream_app.kafka.offsets import OffsetBounds
from stream_app.kafka.topics import check_topics
from stream_app.model_store.annotations import Annotation
from stream_app.model_store.manifest import Manifest
from stream_app.model_store.model_registry import ModelRegistry
from stream_app.settings import Settings
from stream_app.status.alarm_status import detectors, monitor_alarms, silences
from stream_app.status.cluster_view import ConsumerGroup
from stream_app.status.measurements import (
    WrittenMeasurement,
    alarms,
    corrective_actions,
    label_status,
    threshold_statuses,
)
from stream_app.status.pipeline_view import PipelineView, ReadOpenCheck, served_manifest
from stream_app.status.problems import find_problems
from stream_app.status.record_counts_reading import (
    SHARE_WINDOW_MS,
    OutcomeHistory,
    PartitionCounts,
    earlier_counts,
    partition_statuses,
    record_count_totals,
    total,
)
from stream_app.status.status_model import (
    ExclusionStatus,
    InputStatus,
    LearningPause,
    ModelStatus,
    Rates,
    Status,
)
from stream_app.status.window_status import mark_waiting, window_status
from stream_app.status.worker_status import (
    GroupProgress,
    ProgressSample,
    input_status,
    local_workers,
    next_offsets,
    oldest_times,
    rates,
    role_status,
    take_sample,
)

MAX_DEAD_LETTER_SHARE = 0.05

Counts = dict[int, PartitionCounts]
"""Record counts by partition."""


class StatusWatcher:
    """Looks at a pipeline repeatedly; keeps its connections and the last sample for rates.

    Args:
        settings: address of the cluster, and the data folder of this machine's workers.
        name: name of the pipeline.
        max_dead_letter_share: larger share of recent events or labels that is a problem.
        read_open_check: tells which recent dead letters are open; without it, that is unknown.

    Raises:
        KafkaUnavailableError: the cluster does not answer.
        TopicsError: topics of the pipeline are missing.
    """

    def __init__(
        self,
        settings: Settings,
        name: str,
        max_dead_letter_share: float = MAX_DEAD_LETTER_SHARE,
        read_open_check: ReadOpenCheck | None = None,
    ) -> None:
        self._read_open_check = read_open_check
        self._view = PipelineView(settings, name)
        try:
            check_topics(self._view.admin, name, settings)
        except StreamAppError:
            self._view.close()
            raise
        self._before: ProgressSample | None = None
        self._history = OutcomeHistory()
        self._max_share = max_dead_letter_share

    def sample(self) -> None:
        """Take a sample, so that the next look has rates."""
        bounds = self._view.offset_bounds()
        counts = self._view.record_counts(bounds)
        self._before = self._sample(self._view.with_direct(bounds, counts), counts)

    def look(self) -> Status:
        """Return the present status, with the rates since the last sample or look."""
        view, now = self._view, now_ms()
        # Groups before ends, so that no position is beyond the end.
        groups = view.groups()
        bounds = view.offset_bounds()
        counts = view.record_counts(bounds)
        bounds = view.with_direct(bounds, counts)
        rates_since = self._rates(self._sample(bounds, counts))
        local = local_workers(view.settings.data_dir / "run" / view.name)
        roles = tuple(role_status(view.name, role, group, local) for role, group in groups.items())
        watermarks = view.watermarks(bounds)
        inputs = mark_waiting(
            self._inputs(bounds, groups, counts, now), view.topic("scored"), watermarks
        )
        registry = view.registry(bounds)
        model = self._model(registry, inputs, counts, now)
        totals = record_count_totals(counts.values())
        partitions = partition_statuses(counts, view.settings.worker.max_state_entries)
        measurements, unreadable = self._measurements(bounds)
        windows = window_status(watermarks, measurements, now)
        alarm_log = view.alarm_log(bounds)
        problems = (
            *find_problems(roles, inputs, model, totals, partitions, windows),
            *self._dead_letter_problems(bounds, counts, now),
            *unreadable,
        )
        return Status(
            pipeline=view.name,
            cluster=view.servers,
            at=iso_time(now),
            started=bool(counts) or any(role.started or role.running for role in roles),
            healthy=not problems,
            problems=problems,
            roles=roles,
            inputs=inputs,
            rates=rates_since,
            model=model,
            record_counts=totals,
            recent_dead_letters=view.recent_dead_letters(bounds, now, self._read_open_check),
            labels=label_status(measurements),
            windows=windows,
            alarms=alarms(measurements, now),
            corrective_actions=corrective_actions(measurements, now),
            partitions=partitions,
            pauses=_pauses(registry),
            exclusions=_exclusions(registry),
            open_alarms=monitor_alarms(alarm_log, now),
            silences=silences(alarm_log, now),
            detectors=detectors(alarm_log),
            thresholds=threshold_statuses(measurements),
        )

    def close(self) -> None:
        """Close the connections."""
        self._view.close()

    def close_in_background(self) -> None:
        """Close the connections and return at once."""
        self._view.close_in_background()

    def _sample(self, bounds: OffsetBounds, counts: Counts) -> ProgressSample:
        events = {self._view.topic("raw"), *self._view.direct_topics(bounds)}
        labels = {self._view.topic("labels")}
        return take_sample(time.monotonic(), bounds, events, labels, total(counts.values()))

    def _rates(self, after: ProgressSample) -> Rates | None:
        """Return the rates since the last sample, which `after` replaces."""
        before, self._before = self._before, after
        return None if before is None else rates(before, after)

    def _dead_letter_problems(
        self, bounds: OffsetBounds, counts: Counts, now: int
    ) -> tuple[str, ...]:
        if self._history.is_empty:
            state = self._view.select(bounds, "score.state")
            earlier = earlier_counts(self._view.reader, state, counts, now - SHARE_WINDOW_MS)
            self._history.begin(earlier, now)
        recent = self._history.add(total(counts.values()), now)
        return tuple(recent.problems(self._max_share))

    def _measurements(
        self, bounds: OffsetBounds
    ) -> tuple[list[WrittenMeasurement], tuple[str, ...]]:
        """Return the newest measurements, and a problem if none can be read."""
        try:
            known, unreadable = self._view.measurements(bounds)
        except RegistryError as error:
            return [], (f"measurements cannot be read: {error.message}",)
        if unreadable and not known:
            return known, (
                "measurements cannot be read: set STREAM_APP_REGISTRY__URL if they are Avro",
            )
        return known, ()

    def _inputs(
        self, bounds: OffsetBounds, groups: dict[str, ConsumerGroup], counts: Counts, now: int
    ) -> tuple[InputStatus, ...]:
        """Return the progress of each role.

        The scorers' positions are also in their record counts, in case the group's offsets have
        expired.
        """
        positions = {
            (topic, partition): offset
            for partition, one in counts.items()
            for topic, offset in one.positions.items()
        }
        progress = []
        for role, group in groups.items():
            known = next_offsets(group, positions if role == "score" else {})
            progress += [
                GroupProgress(role, partition_id, known.get(partition_id), low, end)
                for partition_id, (low, end) in self._view.input_bounds(role, group, bounds).items()
            ]
        oldest = oldest_times(self._view.reader, progress)
        return tuple(
            input_status(one, groups[one.role], oldest.get((one.role, one.partition_id)), now)
            for one in progress
        )

    def _model(
        self, registry: ModelRegistry, inputs: tuple[InputStatus, ...], counts: Counts, now: int
    ) -> ModelStatus | None:
        """Return the served version, with the number of examples that it has not learned.

        The number of records after the version in the log is an upper bound. So is the number of
        joined predictions minus the learned ones.
        """
        manifest = served_manifest(registry)
        if manifest is None:
            return None
        learner = next(one for one in inputs if one.role == "learn")
        if learner.lag_records == 0 and manifest.version >= learner.position:
            return _model_status(manifest, 0, now / 1000)
        sums = total(counts.values())
        behind = learner.end - manifest.version
        # An offline version has also learned examples that never joined here.
        if not manifest.offline_metrics:
            behind = min(behind, sums.examples - manifest.learned)
        return _model_status(manifest, max(0, behind), now / 1000)


def _model_status(manifest: Manifest, behind: int, now: float) -> ModelStatus:
    """Return the status of a version; `now` is in Unix seconds."""
    through = manifest.learned_through
    return ModelStatus(
        version=manifest.version,
        created_at=manifest.created_at,
        age_seconds=round(seconds_since(manifest.created_at, now), 1),
        learned=manifest.learned,
        learned_through=None if through is None else iso_time(through),
        behind=behind,
        fingerprint=manifest.fingerprint,
        metrics=manifest.metrics,
    )


def _pauses(registry: ModelRegistry) -> tuple[LearningPause, ...]:
    """Return the pauses of learning, that of learning as a whole first."""
    pauses: dict[str | None, Annotation] = {}
    if registry.learning is not None:
        pauses[None] = registry.learning
    pauses.update(sorted(registry.source_learning.items()))
    return tuple(
        LearningPause(source, one.at, one.who, one.why)
        for source, one in pauses.items()
        if one.active
    )


def _exclusions(registry: ModelRegistry) -> tuple[ExclusionStatus, ...]:
    return tuple(
        ExclusionStatus(
            one.number,
            iso_time(one.start),
            iso_time(one.end),
            one.source,
            one.at,
            one.who,
            one.why,
        )
        for one in registry.rules.exclusions
    )
