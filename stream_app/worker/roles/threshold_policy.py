"""What the learner does about thresholds that are passed: alarms, and of its own accord a hold or a rollback."""

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
from stream_app.core.learning.examples_log import LEARNER, learner_commands
from stream_app.core.learning.learner_state import LearnerState
from stream_app.core.measurement import LimitCheck, Measurement
from stream_app.core.monitoring.alarms import Alarms
from stream_app.core.monitoring.audit_entry import act_output
from stream_app.formatting import iso_time
from stream_app.model_store.manifest import Manifest
from stream_app.pipeline import Pipeline, Threshold
from stream_app.records import Output
from stream_app.telemetry.logs import get_logger

log = get_logger(__name__)

THRESHOLDS_KEY = b"thresholds"

Versions = Mapping[int, Manifest]
Loads = Callable[[Manifest], bool]


class ThresholdPolicy:
    """Heeds the thresholds of one pipeline; `loads` says whether a version can be had."""

    def __init__(self, pipeline: Pipeline, loads: Loads) -> None:
        self._pipeline = pipeline
        self._loads = loads
        self._begun = False

    def heed(
        self,
        found: ThresholdFindings,
        alarms: Alarms,
        versions: Versions,
        state: LearnerState,
        now: int,
    ) -> list[Output]:
        """Raise and end alarms; returns what is ordered, and why, if anything is demanded."""
        for breach in found.breaches:
            alarms.raise_(alarm_name(breach.threshold), breach.why, now, breach.value, breach.limit)
        for name in found.within:
            alarms.end(name, now)
        return [] if found.triggered is None else self._order(found.triggered, versions, state, now)

    def begin(self, alarms: Alarms, noted: bytes | None, now: int) -> list[Output]:
        """Once: end the alarms of thresholds that are declared no more, and put a change since `noted` into the audit.

        Returns that, and what is to be noted of the thresholds of today.
        """
        if self._begun:
            return []
        self._begun = True
        declared = {alarm_name(threshold) for threshold in self._pipeline.thresholds.metrics}
        for name in alarms.open:
            if name.startswith(ALARM_PREFIX) and name not in declared:
                alarms.end(name, now)
        limits = orjson.dumps(thresholds_as_dict(self._pipeline.thresholds))
        if limits == noted:
            return []
        changed = [] if noted is None else [self._changed(noted, limits, now)]
        return [*changed, Output("learn.state", 0, THRESHOLDS_KEY, limits)]

    def _changed(self, before: bytes, after: bytes, now: int) -> Output:
        return act_output(
            self._pipeline.name,
            "thresholds",
            at=now,
            who=LEARNER,
            what="thresholds",
            why="declared so",
            before=before.decode(),
            after=after.decode(),
        )

    def _order(
        self, breach: Breach, versions: Versions, state: LearnerState, now: int
    ) -> list[Output]:
        """Written in this transaction, and obeyed when it is read back."""
        to, done = None, "learning is held"
        if breach.threshold.action == "rollback":
            good = newest_within(
                self._pipeline.thresholds.metrics, versions, state, breach.examples.first
            )
            to = next((manifest.version for manifest in good if self._loads(manifest)), None)
            done = (
                f"{done}, for no version of before is left"
                if to is None
                else f"rolled back to version {to}, {done}"
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
        orders = learner_commands(state.control.decision, iso_time(now), why, rollback_to=to)
        return [event.output(self._pipeline.name), *orders]


def rescued(thresholds: tuple[Threshold, ...], versions: Versions, state: LearnerState) -> set[int]:
    """The versions that a rollback may yet go back to: one from before each window that may turn out to be beyond."""
    if all(threshold.action != "rollback" for threshold in thresholds):
        return set()
    windows = [window.first for window in state.evaluator.open.values()]
    before = [*windows, *(run.first for run in state.thresholds.runs.values())]
    found = (next(newest_within(thresholds, versions, state, first), None) for first in before)
    return {manifest.version for manifest in found if manifest is not None}


def newest_within(
    thresholds: tuple[Threshold, ...], versions: Versions, state: LearnerState, before: int
) -> Iterator[Manifest]:
    """The versions that have learned nothing from offset `before` on and were within the thresholds, newest first."""
    for manifest in _lineage(versions, state):
        window, trained = manifest.window, manifest.origin == "trained"
        judged = window is not None and allows_rollback_to(
            thresholds, manifest.metrics, window["n"], manifest.offline_metrics
        )
        if trained or (judged and manifest.version <= before):
            yield manifest


def _lineage(versions: Versions, state: LearnerState) -> Iterator[Manifest]:
    """The versions that the learner's model has come from since the decision before the last, newest first."""
    learned = [
        versions[number]
        for number in sorted(versions, reverse=True)
        if versions[number].origin == "learned"
    ]
    base = None if state.control.base_version is None else versions.get(state.control.base_version)
    yield from (manifest for manifest in learned if manifest.decision == state.control.decision)
    if base is not None:
        yield base
        yield from (
            manifest
            for manifest in learned
            if manifest.decision == base.decision and manifest.version < base.version
        )
