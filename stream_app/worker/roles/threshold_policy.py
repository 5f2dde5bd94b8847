"""Policy of declared thresholds: alarms, and pauses or rollbacks that the learner requests."""

from collections.abc import Callable, Iterator, Mapping

import orjson

from stream_app.core.evaluation.thresholds import (
    ALARM_PREFIX,
    Breach,
    ThresholdFindings,
    alarm_name,
    allows_rollback_to,
    thresholds_as_dict,
)
from stream_app.core.learning.control_commands import LEARNER, learner_commands
from stream_app.core.learning.learner_state import LearnerState
from stream_app.core.monitoring.alarms import LastingAlarms
from stream_app.core.monitoring.audit_entry import AuditEntry
from stream_app.core.published_records import LimitCheck, Measurement
from stream_app.formatting import iso_time
from stream_app.model_store.manifest import Manifest
from stream_app.pipeline import Pipeline, Threshold
from stream_app.records import Output
from stream_app.telemetry.logs import get_logger

log = get_logger(__name__)

THRESHOLDS_KEY = b"thresholds"

Versions = Mapping[int, Manifest]
IsLoadable = Callable[[Manifest], bool]


class ThresholdPolicy:
    """Applies the thresholds of one pipeline.

    Args:
        pipeline: loaded pipeline.
        is_loadable: returns False for a version that cannot be loaded.
    """

    def __init__(self, pipeline: Pipeline, is_loadable: IsLoadable) -> None:
        self._pipeline = pipeline
        self._is_loadable = is_loadable
        self._started = False

    def start(self, alarms: LastingAlarms, recorded: bytes | None, now: int) -> list[Output]:
        """End alarms of thresholds that are no longer declared, and audit a changed declaration.

        Only the first call has an effect.

        Args:
            alarms: open alarms of the learner.
            recorded: thresholds that the last learner recorded, None if there was none.
            now: wall-clock time in Unix milliseconds.

        Returns:
            The audit entry of a change, and the record of the present thresholds.
        """
        if self._started:
            return []
        self._started = True
        declared = {alarm_name(threshold) for threshold in self._pipeline.thresholds.metrics}
        for name in alarms.open:
            if name.startswith(ALARM_PREFIX) and name not in declared:
                alarms.end(name, now)
        limits = orjson.dumps(thresholds_as_dict(self._pipeline.thresholds))
        if limits == recorded:
            return []
        changed = [] if recorded is None else [self._change_audit(recorded, limits, now)]
        return [*changed, Output("learn.state", 0, THRESHOLDS_KEY, limits)]

    def apply(
        self,
        found: ThresholdFindings,
        alarms: LastingAlarms,
        versions: Versions,
        state: LearnerState,
        now: int,
    ) -> list[Output]:
        """Raise and end alarms after a closed window.

        Returns:
            The event and the control records of a triggered action.
        """
        for breach in found.breaches:
            alarms.raise_(alarm_name(breach.threshold), breach.why, now, breach.value, breach.limit)
        for name in found.within:
            alarms.end(name, now)
        if found.triggered is None:
            return []
        return self._request(found.triggered, versions, state, now)

    def _change_audit(self, before: bytes, after: bytes, now: int) -> Output:
        return AuditEntry(
            "thresholds",
            at=now,
            who=LEARNER,
            what="thresholds",
            why="declared so",
            before=before.decode(),
            after=after.decode(),
        ).output(self._pipeline.name)

    def _request(
        self, breach: Breach, versions: Versions, state: LearnerState, now: int
    ) -> list[Output]:
        """Request a pause or rollback, which is applied when the learner reads it back."""
        target, done = None, "learning is paused"
        if breach.threshold.action == "rollback":
            candidates = versions_within(
                self._pipeline.thresholds.metrics, versions, state, breach.examples.first
            )
            target = next(
                (manifest.version for manifest in candidates if self._is_loadable(manifest)), None
            )
            done = (
                f"{done}, because no earlier version is left"
                if target is None
                else f"rolled back to version {target}, {done}"
            )
        why = f"{breach.why}: {breach.where}"
        log.error("experimentation needed", why=why, done=done)
        event = Measurement(
            "experimentation_needed",
            breach.threshold.metric,
            breach.start,
            breach.end,
            breach.n,
            breach.value,
            LimitCheck(breach.limit, True),
            done,
            breach.model_version,
            examples=breach.examples,
        )
        commands = learner_commands(state.control.decision, iso_time(now), why, rollback_to=target)
        return [event.output(self._pipeline.name), *commands]


def rollback_candidates(
    thresholds: tuple[Threshold, ...], versions: Versions, state: LearnerState
) -> set[int]:
    """Return the versions that a rollback may select later.

    These are the newest version from before each window that may still prove to be beyond a limit.
    """
    if all(threshold.action != "rollback" for threshold in thresholds):
        return set()
    windows = [window.first for window in state.evaluator.open.values()]
    before = [*windows, *(run.first for run in state.thresholds.runs.values())]
    found = (next(versions_within(thresholds, versions, state, first), None) for first in before)
    return {manifest.version for manifest in found if manifest is not None}


def versions_within(
    thresholds: tuple[Threshold, ...], versions: Versions, state: LearnerState, before: int
) -> Iterator[Manifest]:
    """Yield the versions within the thresholds that learned before an offset, newest first.

    Trained versions count as within the thresholds.
    """
    for manifest in _lineage(versions, state):
        window, trained = manifest.window, manifest.origin == "trained"
        within = window is not None and allows_rollback_to(
            thresholds, manifest.metrics, window["n"], manifest.offline_metrics
        )
        if trained or (within and manifest.version <= before):
            yield manifest


def _lineage(versions: Versions, state: LearnerState) -> Iterator[Manifest]:
    """Yield the model's ancestors since the decision before the last one, newest first."""
    control = state.control
    learned = [
        versions[number]
        for number in sorted(versions, reverse=True)
        if versions[number].origin == "learned"
    ]
    base = None if control.base_version is None else versions.get(control.base_version)
    yield from (manifest for manifest in learned if manifest.decision == control.decision)
    if base is not None:
        yield base
        yield from (
            manifest
            for manifest in learned
            if manifest.decision == base.decision and manifest.version < base.version
        )
