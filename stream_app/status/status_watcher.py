"""Putting the answer together; looking again tells rates."""

import time

from stream_app.clock import now_ms
from stream_app.errors import RegistryError
from stream_app.formatting import iso_time
from stream_app.kafka.offsets import Limits
from stream_app.kafka.topics import check_topics
from stream_app.settings import Settings
from stream_app.status.cluster_view import ConsumerGroup
from stream_app.status.consumer_progress import (
    GroupProgress,
    ProgressSample,
    input_status,
    next_offsets,
    oldest_times,
    rates,
    sample,
)
from stream_app.status.local_workers import local_workers
from stream_app.status.measurements import (
    WrittenMeasurement,
    alarms,
    corrective_actions,
    label_status,
)
from stream_app.status.pipeline_view import PipelineView
from stream_app.status.problems import find_problems
from stream_app.status.recent_dead_letters import recent_dead_letters
from stream_app.status.record_counts_reading import PartitionCounts, books, partition_states, total
from stream_app.status.role_status import role_status
from stream_app.status.served_version import model_status
from stream_app.status.status_model import InputStatus, ModelStatus, Rates, Status
from stream_app.worker.roles.role_table import ROLES


class StatusWatcher:
    """Looks at the pipeline `name`, as often as it likes; keeps its connections, and the last sample for rates.

    Raises `KafkaUnavailableError`, and `TopicsError` if the pipeline's topics are not there.
    """

    def __init__(self, settings: Settings, name: str) -> None:
        self._view = PipelineView(settings, name)
        check_topics(self._view.admin, name, settings)
        self._before: ProgressSample | None = None

    def sample(self) -> None:
        """Note where everything is now, so that the next look can tell rates."""
        limits = self._view.limits()
        self._before = self._sample(limits, self._view.sheets(limits))

    def look(self) -> Status:
        """Everything as it is now; rates are those since the last sample or look."""
        view, now = self._view, now_ms()
        groups = (
            view.groups()
        )  # before the ends, so that nobody seems to have read more than there is
        limits = view.limits()
        sheets = view.sheets(limits)
        speed = self._rates(self._sample(limits, sheets))
        local = local_workers(view.settings.data_dir / "run" / view.name)
        roles = tuple(role_status(view.name, role, group, local) for role, group in groups.items())
        inputs = self._inputs(limits, groups, sheets, now)
        model = self._model(limits, inputs, sheets, now)
        booked, state = (
            books(sheets.values()),
            partition_states(sheets, view.settings.worker.max_state_entries),
        )
        measurements, unreadable = self._measurements(limits)
        problems = (*find_problems(roles, inputs, model, booked, state), *unreadable)
        return Status(
            pipeline=view.name,
            cluster=view.servers,
            at=iso_time(now),
            started=bool(sheets) or any(role.started or role.running for role in roles),
            healthy=not problems,
            problems=problems,
            roles=roles,
            inputs=inputs,
            rates=speed,
            model=model,
            books=booked,
            recent_dead_letters=recent_dead_letters(
                view, view.of(limits, "raw.dlq", "labels.dlq"), now
            ),
            labels=label_status(measurements),
            alarms=alarms(measurements, now),
            corrective_actions=corrective_actions(measurements, now),
            state=state,
        )

    def close(self) -> None:
        """Let the cluster go."""
        self._view.close()

    def _sample(self, limits: Limits, sheets: dict[int, PartitionCounts]) -> ProgressSample:
        topic = self._view.topic
        return sample(
            time.monotonic(), limits, topic("raw"), topic("labels"), total(sheets.values())
        )

    def _rates(self, after: ProgressSample) -> Rates | None:
        """Since the last sample, which this one replaces."""
        before, self._before = self._before, after
        return None if before is None else rates(before, after)

    def _measurements(self, limits: Limits) -> tuple[list[WrittenMeasurement], tuple[str, ...]]:
        """The newest measurements, and why some cannot be shown."""
        try:
            known, unreadable = self._view.measurements(limits)
        except RegistryError as error:
            return [], (f"measurements cannot be read: {error.message}",)
        none = unreadable > 0 and not known
        return known, (
            "measurements cannot be read: is STREAM_APP_REGISTRY__URL set?",
        ) if none else ()

    def _inputs(
        self,
        limits: Limits,
        groups: dict[str, ConsumerGroup],
        sheets: dict[int, PartitionCounts],
        now: int,
    ) -> tuple[InputStatus, ...]:
        """How far each role has come; the scorers' positions are in their books too, if the group's have expired."""
        positions = {
            (topic, partition): offset
            for partition, sheet in sheets.items()
            for topic, offset in sheet.positions.items()
        }
        standings = []
        for role, group in groups.items():
            known = next_offsets(group, positions if role == "score" else {})
            mine = self._view.of(limits, *ROLES[role].inputs)
            standings += [
                GroupProgress(role, place, known.get(place), low, end)
                for place, (low, end) in mine.items()
            ]
        oldest = oldest_times(self._view.tail, standings)
        return tuple(
            input_status(one, groups[one.role], oldest.get((one.role, one.place)), now)
            for one in standings
        )

    def _model(
        self,
        limits: Limits,
        inputs: tuple[InputStatus, ...],
        sheets: dict[int, PartitionCounts],
        now: int,
    ) -> ModelStatus | None:
        """The served version; it has missed what joined since it was made, or what lies beyond it in the log."""
        manifest = self._view.served(limits)
        if manifest is None:
            return None
        learner = next(one for one in inputs if one.role == "learn")
        if learner.lag_records == 0 and manifest.version >= learner.position:
            return model_status(manifest, 0, now / 1000)
        books = total(sheets.values())
        missed = learner.end - manifest.version
        if not manifest.laboratory:  # else it has learned what never joined here as well
            missed = min(missed, books.joined - books.unlearned - manifest.learned)
        return model_status(manifest, max(0, missed), now / 1000)
