"""Raises the alarms of a pipeline: label flips, volume, label coverage, drift of inputs."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from stream_app.core.alarms.alarm_budget import DAYS_A_YEAR, AlarmBudget
from stream_app.core.alarms.alarm_log import DetectorState
from stream_app.core.alarms.alarm_record import WRONG_LABELS, AlarmName, AlarmRecord
from stream_app.core.alarms.coverage import CoverageDetector
from stream_app.core.alarms.evidence import DAY_MS, HOUR_MS, AlarmFinding
from stream_app.core.alarms.hour_counts import HourCounts
from stream_app.core.alarms.input_drift import InputDriftDetector, InputDriftFinding
from stream_app.core.alarms.label_detector import LabelType
from stream_app.core.alarms.label_feed import ServedLabel
from stream_app.core.alarms.label_sources import MAX_SOURCES, SHARED, LabelSources, SourceAlarm
from stream_app.core.alarms.raised_alarm import OpenAlarms, RaisedAlarm
from stream_app.core.alarms.rank_bets import MIN_PAST
from stream_app.core.alarms.volume import VolumeDetector
from stream_app.core.alarms.week_hours import WeekHours
from stream_app.core.evaluation.prediction_tasks import BinaryTask, MulticlassTask, task_of
from stream_app.core.examples import Example
from stream_app.core.monitoring.window_monitor import WindowDistributions
from stream_app.core.published_records import NO_VERSION, ExampleOffsets
from stream_app.formatting import iso_time
from stream_app.pipeline import Alarms, Pipeline
from stream_app.sources import Source

_YEAR_MS = DAYS_A_YEAR * DAY_MS
# Inputs that are monitored: the prediction's variables first, then features by name.
MAX_INPUTS = 100
# Least time within which labels are counted for their coverage.
_LABELLED_WITHIN_MS = 8 * HOUR_MS
# Source of events that come from none.
EVENTS = "events"
_EVENT_ALARMS: tuple[AlarmName, ...] = ("event-volume", "input-drift")
_LABEL_ALARMS: tuple[AlarmName, ...] = (*WRONG_LABELS, "label-coverage")


class AlarmMonitor:
    """Detectors of a pipeline, and the alarms that are open.

    It is a function of the records and of the times that all partitions have passed, whatever the
    order of records between two of those times.

    Args:
        pipeline: loaded pipeline.
        declared: its declaration of alarms.
    """

    def __init__(self, pipeline: Pipeline, declared: Alarms) -> None:
        self._budget = AlarmBudget(
            false_per_year=declared.false_per_year, inputs_per_year=declared.input_drift_per_year
        )
        horizon = pipeline.label.horizon // timedelta(milliseconds=1)
        absent = pipeline.label.absent
        self._labels = LabelSources(
            _label_type(pipeline),
            self._budget.rate("flips", 1),
            horizon,
            absent if isinstance(absent, bool) else None,
            _names(pipeline.label.sources),
        )
        self._hours = HourCounts(min(horizon, max(_LABELLED_WITHIN_MS, horizon // 4)))
        week = WeekHours(declared.zone, declared.holidays)
        sources = [*_names(pipeline.sources), EVENTS]
        limit = self._budget.limit("volume", len(sources), DAYS_A_YEAR)
        self._volumes = {name: VolumeDetector(limit, week) for name in sources}
        label_sources = [*_names(pipeline.label.sources), SHARED]
        limit = self._budget.limit("coverage", len(label_sources), DAYS_A_YEAR)
        self._coverages = {name: CoverageDetector(limit, week) for name in label_sources}
        # Made for the first window with distributions: its names, and the length of its windows.
        self._inputs: InputDriftDetector | None = None
        self._input_names: list[str] = []
        self._window_ms = 0
        self._open = OpenAlarms()
        self._newest_example = -1

    def add_event(self, time: int, reached: int, source: str | None = None) -> None:
        """Count a scored event.

        Args:
            time: time of the event in Unix milliseconds.
            reached: watermark of its partition that holds for it.
            source: name of its source, None if it has none.
        """
        name = source if source is not None and source in self._volumes else EVENTS
        self._hours.add_event(time, reached, name)

    def add_example(self, example: Example, offset: int) -> None:
        """Add a label; `offset` is its offset in the log of examples."""
        source = example.label_source
        # The rule of a fallback says nothing about the label.
        if example.model_version != NO_VERSION:
            label = ServedLabel(
                example.label_time, example.event_time, 0, offset, example.label, example.score
            )
            self._labels.add(label, source, assumed=example.assumed)
        self._newest_example = offset
        if not example.assumed:
            name = source if source is not None and source in self._coverages else SHARED
            self._hours.add_label(example.event_time, example.label_time, name)

    def change_version(self) -> None:
        """Forget the evidence, but nothing that was learned: a version was promoted or rolled back.

        The alarms stay open until they had no evidence for three days.
        """
        self._labels.restart()
        if self._inputs is not None:
            self._inputs.restart()

    def pass_events(
        self, time: int, windows: Iterable[WindowDistributions] = ()
    ) -> list[AlarmRecord]:
        """Raise the alarms about events, and close those without evidence.

        Args:
            time: time that the events of all partitions have passed, in Unix milliseconds.
            windows: windows that closed by it, in order.
        """
        self._labels.start(time)
        found = []
        for hour in self._hours.pass_events(time):
            for name, detector in self._volumes.items():
                volume = detector.add(hour.start, hour.events.get(name, 0))
                if volume is not None:
                    cause = f"about {volume.alternative:g} times the usual number of events"
                    raised = _raised("event-volume", name, time, volume, cause)
                    found.append(self._open.add(raised))
        for window in windows:
            drift = self._add_window(window)
            if drift is not None:
                raised = _raised("input-drift", "inputs", time, drift.alarm, _drift_cause(drift))
                culprits = tuple(one.name for one in drift.culprits)
                found.append(self._open.add(raised._replace(culprits=culprits)))
        return found + self._open.pass_time(_EVENT_ALARMS, time)

    def pass_clock(self, time: int) -> list[AlarmRecord]:
        """Raise the alarms about labels, and close those without evidence.

        Args:
            time: time that the clocks of all partitions have passed, in Unix milliseconds.
        """
        found = []
        for raised in self._labels.release(time):
            found.append(self._open.add(self._label_alarm(raised, time)))
            if raised.alarm.check == "flips":
                self._labels[raised.source].hold(raised.alarm.finding.since)
        for hour in self._hours.pass_clock(time):
            events = sum(hour.events.values())
            for name, detector in self._coverages.items():
                finding = detector.add(hour.start, events, hour.labelled.get(name, 0))
                if finding is not None:
                    cause = f"about {finding.alternative:g} times the usual share of labels"
                    missing = _raised("label-coverage", name, time, finding, cause)
                    found.append(self._open.add(missing))
        held = [name for name in self._labels.names if self._open.is_open(name, *WRONG_LABELS)]
        found += self._open.pass_time(_LABEL_ALARMS, time)
        for name in held:
            if not self._open.is_open(name, *WRONG_LABELS):
                self._labels[name].resume()
        return found

    def open_alarms(self) -> list[AlarmRecord]:
        """Return the alarms that are open, as they were written last."""
        return self._open.records()

    def detectors(self, time: int) -> list[DetectorState]:
        """Return which alarms about labels and inputs can be raised yet.

        Args:
            time: time that the clocks of all partitions have passed, in Unix milliseconds.
        """
        found = []
        for source in self._labels.names:
            labels = self._labels[source]
            state = DetectorState("label-flips", source, "bets")
            if labels.off:
                state = state._replace(phase="off", why=labels.off)
            elif time < labels.begins_at:
                why = f"bets begin with labels of {iso_time(labels.begins_at)[:10]}"
                state = state._replace(phase="waits", why=why)
            found.append(state)
        inputs = DetectorState("input-drift", "inputs", "bets")
        if self._inputs is None:
            inputs = inputs._replace(phase="waits", why="no distributions yet")
        elif waiting := self._inputs.waiting:
            of_all = len(self._input_names)
            why = f"{len(waiting)} of {of_all} inputs have fewer than {MIN_PAST} hours"
            inputs = inputs._replace(phase="waits", why=why)
        return [*found, inputs]

    def to_state(self) -> dict[str, Any]:
        """Return JSON data."""
        inputs = None
        if self._inputs is not None:
            inputs = [self._input_names, self._window_ms, self._inputs.state()]
        return {
            "labels": self._labels.state(),
            "hours": self._hours.state(),
            "volumes": {name: one.state() for name, one in self._volumes.items()},
            "coverages": {name: one.state() for name, one in self._coverages.items()},
            "inputs": inputs,
            "open": self._open.state(),
            "newest_example": self._newest_example,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Set what `to_state` returned; detectors of sources that are new start over."""
        self._labels.restore(state["labels"])
        self._hours.restore(state["hours"])
        for detectors, states in (
            (self._volumes, state["volumes"]),
            (self._coverages, state["coverages"]),
        ):
            for name in detectors.keys() & states.keys():
                detectors[name].restore(states[name])
        if state["inputs"] is not None:
            names, length, content = state["inputs"]
            self._inputs = self._input_detector(names, length)
            self._inputs.restore(content)
        self._open.restore(state["open"])
        self._newest_example = state["newest_example"]

    def _add_window(self, window: WindowDistributions) -> InputDriftFinding | None:
        if not window.inputs:
            return None
        length = window.end - window.start
        if self._inputs is None or length != self._window_ms:
            # Windows of another length vary by another measure, so everything is learned again.
            self._inputs = self._input_detector(list(window.inputs)[:MAX_INPUTS], length)
        inputs = {name: window.inputs[name] for name in self._input_names if name in window.inputs}
        return self._inputs.add(window.start, window.end, inputs)

    def _input_detector(self, names: list[str], length: int) -> InputDriftDetector:
        self._input_names, self._window_ms = names, length
        return InputDriftDetector(self._budget.limit("inputs", 1, _YEAR_MS / length), names)

    def _label_alarm(self, raised: SourceAlarm, time: int) -> RaisedAlarm:
        source, alarm = raised
        finding = alarm.finding
        name: AlarmName
        if alarm.check == "flips":
            of_class = f" of {finding.name}" if finding.name else ""
            cause = f"about {finding.alternative:g} of the labels{of_class} are flipped"
            name = "label-flips"
        else:
            cause = f"about {finding.alternative:g} times the usual share of positive labels"
            name = "positive-share"
        name = next((one for one in WRONG_LABELS if self._open.is_open(source, one)), name)
        evidence = _raised(name, source, time, finding, cause)
        if alarm.first_offset is None:
            return evidence
        return evidence._replace(examples=ExampleOffsets(alarm.first_offset, self._newest_example))


def _names(sources: Iterable[Source]) -> list[str]:
    """Return the names of the sources that have detectors of their own."""
    names = [source.source_name for source in sources][:MAX_SOURCES]
    return [name for name in names if name not in (EVENTS, SHARED)]


def _raised(
    name: AlarmName, source: str, time: int, finding: AlarmFinding, cause: str
) -> RaisedAlarm:
    strength = finding.evidence / finding.limit
    return RaisedAlarm(name, source, time, finding.since, strength, cause)


def _drift_cause(found: InputDriftFinding) -> str:
    return ", ".join(f"{one.name} ({one.weight:.0%} of the evidence)" for one in found.culprits)


def _label_type(pipeline: Pipeline) -> LabelType:
    task = task_of(pipeline)
    if isinstance(task, BinaryTask):
        return "binary"
    return "class" if isinstance(task, MulticlassTask) else "number"
