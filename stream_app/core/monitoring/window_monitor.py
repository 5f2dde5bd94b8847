"""Monitors inputs, scores and labels per window of event time, which the learner cannot see."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NamedTuple

from stream_app.core.evaluation.prediction_tasks import task_of
from stream_app.core.examples import Example
from stream_app.core.monitoring.delay_quantiles import DelayQuantiles
from stream_app.core.monitoring.distribution_monitor import DistributionMonitor, InputCounts
from stream_app.core.monitoring.hashed_sample import HashedRecord, identity_hash
from stream_app.core.monitoring.log_alignment import DAY_MS, STEP_MS, floor_time
from stream_app.core.monitoring.window_lengths import LENGTHS_MS, WindowLengths, choose_length
from stream_app.core.published_records import Measurement, ScoredRecord
from stream_app.core.reading.event_time import NEVER
from stream_app.pipeline import Pipeline
from stream_app.records import Features, Fields, Output

# Model versions of a window whose records are reported apart.
MAX_VERSIONS = 10
# Steps whose windows are remembered.
MAX_SPANS = 1_000
# Later than all times.
LAST = 2**62
# Longest part of a window whose distributions are looked at by themselves.
HOUR_MS = 3_600_000


class WindowDistributions(NamedTuple):
    """Distributions of scores, predictions and features in an hour, or in a shorter window.

    Attributes:
        start, end: span of event time in Unix milliseconds.
        inputs: counts by name.
    """

    start: int
    end: int
    inputs: Mapping[str, InputCounts]


class StepSpan(NamedTuple):
    """Window of the records of a step, and the part of it in which their distributions count.

    Attributes:
        start: start of the window in Unix milliseconds.
        closing: watermark of a partition at which its records are late.
        applied: time from which the length of the window applies.
        part: start of the part, an hour or the window if it is shorter.
        part_closing: watermark at which the part is not looked at any more.
    """

    start: int
    closing: int
    applied: int
    part: int
    part_closing: int


@dataclass(slots=True)
class WindowCounts:
    """Records of one window, or of `STEP_MS` in one that is open.

    Attributes:
        versions: number of scored records in time, by model version.
        delays: delays of the labels.
    """

    versions: Counter[int] = field(default_factory=Counter)
    delays: DelayQuantiles = field(default_factory=DelayQuantiles)

    @property
    def scored(self) -> int:
        """Number of scored records in time."""
        return self.versions.total()

    def add(self, other: "WindowCounts") -> None:
        """Add the records of another part of the window."""
        self.versions.update(other.versions)
        self.delays.merge(other.delays)

    def to_state(self) -> list[Any]:
        """Return JSON data."""
        versions = {str(version): n for version, n in self.versions.items()}
        return [versions, self.delays.to_state()]

    @classmethod
    def from_state(cls, state: list[Any]) -> "WindowCounts":
        """Return the counts of `to_state`."""
        versions, delays = state
        counted = Counter({int(version): n for version, n in versions.items()})
        return cls(counted, DelayQuantiles.from_state(delays))


class WindowMonitor:
    """Monitors tumbling windows of event time, aligned to the Unix epoch.

    It is a function of its records and of the times that all partitions have passed, whatever the
    order of records between two of those times. `docs/windows.md` has the rules.

    Args:
        pipeline: loaded pipeline.

    Attributes:
        lengths: lengths of the windows.
        late: number of records that came after their window had closed.
        closed: distributions of the hours that closed with the last time that passed, or of the
            windows if these are shorter.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._monitored = task_of(pipeline).monitored
        label = pipeline.label
        kept = label.horizon + label.allowed_lateness
        self._retention = kept // timedelta(milliseconds=1)
        self.lengths = WindowLengths()
        self.late = 0
        self.closed: list[WindowDistributions] = []
        # Earliest closing of an open window, and of one that waits for its labels; `NEVER` if it is
        # not known. Not part of the state.
        self._next_closing = NEVER
        self._next_labels = NEVER
        # Times that the events of all partitions have passed, and their clocks since windows close.
        self._events = NEVER
        self._clock = NEVER
        # Time from which on the records of a step are complete.
        self._first = NEVER
        # By start: steps of windows that are open, and windows that wait for their labels.
        self._open: dict[int, WindowCounts] = {}
        self._closed: dict[int, WindowCounts] = {}
        # By step. Not part of the state.
        self._spans: dict[int, StepSpan] = {}
        # Late scored records by the day that their partition had reached.
        self._late: Counter[int] = Counter()
        self._score = DistributionMonitor()
        self._features = DistributionMonitor()

    def scored(self, record: ScoredRecord, key: bytes | None, reached: int) -> None:
        """Count a scored record.

        Args:
            record: the record.
            key: key of its Kafka record.
            reached: watermark of its partition that holds for it, in Unix milliseconds.

        Raises:
            KeyError, TypeError, ValueError: it is no scored record.
        """
        time, variables, features = self._read(record)
        step = time - time % STEP_MS
        start, closing, applied, part, part_closing = self._spans.get(step) or self._span(step)
        if closing <= reached:
            self.late += 1
            self._late[floor_time(reached, DAY_MS)] += 1
            return
        self._counts(step).versions[record["model"]["version"]] += 1
        if record.get("degraded") is not None:
            # Scores of a fallback are distributed differently, for which no input is to blame.
            return
        for monitor, monitored in ((self._score, variables), (self._features, features)):
            begin = monitor.counted_from
            if not monitored:
                continue
            if begin is None:
                identity = identity_hash(key, record["event_id"])
                monitor.sample(reached, HashedRecord(identity, monitored))
            elif begin <= time and begin <= reached and applied <= reached:
                # What is late for its part counts in the window only, as a part that is not closed.
                monitor.count(part if reached < part_closing else start + 1, monitored)

    def example(self, example: Example) -> None:
        """Count a label; one that was assumed has no delay, and is not covered."""
        if example.assumed:
            return
        start, length = self.lengths.window_of(example.event_time)
        if self._is_complete(start, length):
            self.late += 1
            return
        is_closed = self.lengths.is_known and (
            self.lengths.closing_time(start, length) <= self._events
        )
        step = example.event_time - example.event_time % STEP_MS
        counts = self._closed.get(start) if is_closed else self._counts(step)
        if counts is not None:
            counts.delays.add(max(example.label_time - example.event_time, 0))

    def pass_events(self, time: int) -> list[Output]:
        """Close windows of scored records: the events of all partitions have passed a time.

        Args:
            time: Unix milliseconds, a multiple of `STEP_MS`.
        """
        late: list[Measurement] = []
        if self._first == NEVER:
            self._first = time
        else:
            first = floor_time(self._events, DAY_MS) + DAY_MS
            for midnight in range(first, time + 1, DAY_MS):
                self._pass_midnight(midnight)
                late += self._late_records(midnight)
        self.closed = list(self._closed_parts(self._events, time))
        self._events = time
        found = late + (self._close() if self.lengths.is_known else [])
        return [measurement.output(self._pipeline.name) for measurement in found]

    def pass_clock(self, time: int) -> list[Output]:
        """Report the labels of windows whose predictions have closed in all partitions.

        Args:
            time: Unix milliseconds, a multiple of `STEP_MS`.
        """
        if not self.lengths.is_known:
            return []
        self._clock = time
        if time < self._next_labels:
            return []
        due = [
            (self._labels_closing_time(start, length), start, start + length)
            for start, length in map(self.lengths.window_of, self._closed)
        ]
        self._next_labels = min((one[0] for one in due if one[0] > time), default=LAST)
        return [
            measurement.output(self._pipeline.name)
            for closing, start, end in sorted(due)
            if closing <= time
            for measurement in _label_measurements(start, end, self._closed.pop(start))
        ]

    def change_window(self, time: int, length: int) -> None:
        """Give later windows another length.

        It applies from the second midnight on: no partition was read further than that.

        Args:
            time: time that the events of all partitions had passed at the command.
            length: one of `LENGTHS_MS`; others are ignored.
        """
        if length not in LENGTHS_MS:
            return
        start = NEVER if time == NEVER else floor_time(time, DAY_MS) + 2 * DAY_MS
        self.lengths.change(start, length)
        self._forget_spans()
        self._score.change_windows(start)
        self._features.change_windows(start)

    def to_state(self) -> dict[str, Any]:
        """Return JSON data."""
        return {
            "lengths": self.lengths.changes,
            "late": self.late,
            "times": [self._events, self._clock, self._first],
            "open": {str(start): counts.to_state() for start, counts in self._open.items()},
            "closed": {str(start): counts.to_state() for start, counts in self._closed.items()},
            "late_by_day": {str(day): n for day, n in self._late.items()},
            "score": self._score.to_state(),
            "features": self._features.to_state(),
        }

    @classmethod
    def from_state(cls, pipeline: Pipeline, state: Mapping[str, Any]) -> "WindowMonitor":
        """Return the monitor of `to_state`."""
        monitor = cls(pipeline)
        monitor.lengths = WindowLengths((start, length) for start, length in state["lengths"])
        monitor.late = state["late"]
        monitor._events, monitor._clock, monitor._first = state["times"]
        monitor._open = _counts_of(state["open"])
        monitor._closed = _counts_of(state["closed"])
        monitor._late = Counter({int(day): n for day, n in state["late_by_day"].items()})
        monitor._score = DistributionMonitor.from_state(state["score"])
        monitor._features = DistributionMonitor.from_state(state["features"])
        return monitor

    def _read(self, record: ScoredRecord) -> tuple[int, Fields, Features | None]:
        """Return event time, prediction and features of a record that may be anything."""
        time, version, features = (
            record["event_time"],
            record["model"]["version"],
            record["features"],
        )
        if type(time) is not int or type(version) is not int:
            raise TypeError
        if type(record["event_id"]) is not str or not (features is None or type(features) is dict):
            raise TypeError
        return time, self._monitored(record), features

    def _counts(self, step: int) -> WindowCounts:
        counts = self._open.get(step)
        if counts is None:
            counts = self._open[step] = WindowCounts()
            closing = self.lengths.closing_time(*self.lengths.window_of(step))
            self._next_closing = min(self._next_closing, closing)
        return counts

    def _span(self, step: int) -> StepSpan:
        """Return what `_spans` has of a step, and remember it."""
        if len(self._spans) > MAX_SPANS:
            self._spans.clear()
        lengths = self.lengths
        start, length = lengths.window_of(step)
        closing, applied = lengths.closing_time(start, length), lengths.applies_from(step)
        size = min(length, HOUR_MS)
        part = step - step % size
        span = StepSpan(start, closing, applied, part, part + size + STEP_MS)
        self._spans[step] = span
        return span

    def _forget_spans(self) -> None:
        self._spans.clear()
        self._next_closing = self._next_labels = NEVER

    def _labels_closing_time(self, start: int, length: int) -> int:
        closing = self.lengths.closing_time(start, length)
        return max(closing, start + length + self._retention)

    def _is_complete(self, start: int, length: int) -> bool:
        """Return True if the labels of a window were reported."""
        return self._clock != NEVER and self._labels_closing_time(start, length) <= self._clock

    def _pass_midnight(self, time: int) -> None:
        """Choose the length of windows, and fix the references, if there are enough records."""
        if not self.lengths.is_known:
            counts = {start: one.scored for start, one in self._open.items()}
            # Of the last day, late records may still be read.
            length = choose_length(counts, self._first, time - DAY_MS)
            if length is not None:
                self.lengths.change(time + DAY_MS, length)
                self._forget_spans()
        if self.lengths.is_known:
            self._score.pass_midnight(time)
            self._features.pass_midnight(time)

    def _late_records(self, midnight: int) -> list[Measurement]:
        """Return the number of records that were late on the day before."""
        days = [day for day in self._late if day < midnight]
        late = sum(self._late.pop(day) for day in days)
        if not late:
            return []
        return [Measurement("volume", "late", midnight - DAY_MS, midnight, late, float(late))]

    def _close(self) -> list[Measurement]:
        """Return the measurements of windows that are past."""
        if self._events < self._next_closing:
            return []
        due = []
        self._next_closing = LAST
        for step in self._open:
            start, length = self.lengths.window_of(step)
            closing = self.lengths.closing_time(start, length)
            if closing <= self._events:
                due.append((closing, start, start + length, step))
            else:
                self._next_closing = min(self._next_closing, closing)
        windows: dict[tuple[int, int], WindowCounts] = {}
        for _, start, end, step in sorted(due):
            windows.setdefault((start, end), WindowCounts()).add(self._open.pop(step))
        found: list[Measurement] = []
        for (start, end), counts in windows.items():
            if counts.scored:
                self._closed[start] = counts
                self._next_labels = NEVER
                found += self._window(start, end, counts)
        return found

    def _closed_parts(self, before: int, time: int) -> Iterator[WindowDistributions]:
        """Yield the parts of windows that close between two times, in order."""
        for part in sorted({*self._score.parts, *self._features.parts}):
            span = self._spans.get(part) or self._span(part)
            if span.part == part and before < span.part_closing <= time:
                inputs = self._score.counts(part)
                for name, counts in self._features.counts(part).items():
                    inputs[f"features.{name}"] = counts
                yield WindowDistributions(part, span.part_closing - STEP_MS, inputs)

    def _window(self, start: int, end: int, counts: WindowCounts) -> list[Measurement]:
        """Return volumes, and the comparisons of distributions."""
        ranked = sorted(counts.versions.items(), key=lambda item: (-item[1], -item[0]))
        total, version = counts.scored, ranked[0][0]
        of_all = Measurement("volume", "scored", start, end, total, float(total))
        found = [of_all._replace(model_version=version)]
        if len(ranked) > 1:
            found += [
                of_all._replace(n=n, value=float(n), reference="version", model_version=one)
                for one, n in ranked[:MAX_VERSIONS]
            ]
        findings = self._score.close(start, end - start)
        findings += [
            finding._replace(name=f"features.{finding.name}")
            for finding in self._features.close(start, end - start)
        ]
        drift = Measurement("drift", "", start, end, 0, model_version=version)
        return found + [
            drift._replace(name=name, n=n, value=index, reference=reference)
            for name, reference, n, index in findings
        ]


def _label_measurements(start: int, end: int, counts: WindowCounts) -> list[Measurement]:
    """Return coverage and delays of the labels of a window."""
    delays, scored = counts.delays, counts.scored
    share = delays.n / scored
    found = [Measurement("coverage", "label_coverage", start, end, scored, share)]
    if delays.n:
        found += [
            Measurement("delay", name, start, end, delays.n, milliseconds / 1000)
            for name, milliseconds in delays.summary().items()
        ]
    return found


def _counts_of(state: Mapping[str, list[Any]]) -> dict[int, WindowCounts]:
    return {int(start): WindowCounts.from_state(counts) for start, counts in state.items()}
