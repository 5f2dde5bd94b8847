"""Monitors a pipeline: the windows of its records, and its alarms."""

from collections.abc import Mapping
from typing import Any

from stream_app.core.alarms.alarm_log import DetectorState
from stream_app.core.alarms.alarm_monitor import AlarmMonitor
from stream_app.core.alarms.alarm_record import AlarmRecord
from stream_app.core.examples import Example
from stream_app.core.monitoring.log_alignment import DAY_MS, floor_time
from stream_app.core.monitoring.window_monitor import WindowMonitor
from stream_app.core.published_records import ScoredRecord
from stream_app.core.reading.event_time import NEVER
from stream_app.pipeline import Pipeline
from stream_app.records import Output


class StreamMonitor:
    """Windows of a pipeline, and the alarms that it declares.

    It is a function of its records and of the times that all partitions have passed, whatever the
    order of records between two of those times.

    Args:
        pipeline: loaded pipeline.

    Attributes:
        windows: windows of scored records and labels.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self.windows = WindowMonitor(pipeline)
        declared = pipeline.alarms
        self._alarms = None if declared is None else AlarmMonitor(pipeline, declared)
        # States of the detectors as they were written last, by key, and the day of the last look.
        self._detectors: dict[str, DetectorState] = {}
        self._day = NEVER

    @property
    def open_alarms(self) -> list[AlarmRecord]:
        """Alarms that are open, as they were written last."""
        return [] if self._alarms is None else self._alarms.open_alarms()

    def scored(self, record: ScoredRecord, key: bytes | None, reached: int) -> None:
        """Count a scored record; parameters and errors as of `WindowMonitor.scored`."""
        self.windows.scored(record, key, reached)
        if self._alarms is not None:
            origin = record.get("origin")
            source = origin.get("source") if isinstance(origin, dict) else None
            self._alarms.add_event(record["event_time"], reached, source)

    def example(self, example: Example, offset: int) -> None:
        """Count a label; `offset` is its offset in the log of examples."""
        self.windows.example(example)
        if self._alarms is not None:
            self._alarms.add_example(example, offset)

    def change_version(self) -> None:
        """Note a promotion or rollback."""
        if self._alarms is not None:
            self._alarms.change_version()

    def pass_events(self, time: int) -> list[Output]:
        """Report what closes because the events of all partitions have passed a time.

        Args:
            time: Unix milliseconds, a multiple of `STEP_MS`.
        """
        outputs = self.windows.pass_events(time)
        if self._alarms is None:
            return outputs
        return outputs + self._outputs(self._alarms.pass_events(time, self.windows.closed))

    def pass_clock(self, time: int) -> list[Output]:
        """Report what closes because the clocks of all partitions have passed a time."""
        outputs = self.windows.pass_clock(time)
        if self._alarms is not None:
            outputs += self._outputs(self._alarms.pass_clock(time))
        return outputs + self._changed_detectors(time)

    def to_state(self) -> dict[str, Any]:
        """Return JSON data."""
        alarms = None if self._alarms is None else self._alarms.to_state()
        detectors = [list(one) for one in self._detectors.values()]
        return {
            "windows": self.windows.to_state(),
            "alarms": alarms,
            "detectors": [self._day, detectors],
        }

    @classmethod
    def from_state(cls, pipeline: Pipeline, state: Mapping[str, Any]) -> "StreamMonitor":
        """Return the monitor of `to_state`; alarms that were not declared then start over."""
        monitor = cls(pipeline)
        monitor.windows = WindowMonitor.from_state(pipeline, state["windows"])
        if monitor._alarms is not None and state["alarms"] is not None:
            monitor._alarms.restore(state["alarms"])
        monitor._day, written = state["detectors"]
        monitor._detectors = {one.key: one for one in map(DetectorState._make, written)}
        return monitor

    def _changed_detectors(self, time: int) -> list[Output]:
        """Return the states of detectors that have changed since the day before, or are gone."""
        day = floor_time(time, DAY_MS)
        if day == self._day:
            return []
        self._day = day
        states = [] if self._alarms is None else self._alarms.detectors(time)
        present = {one.key: one for one in states}
        found = [one.output() for key, one in present.items() if self._detectors.get(key) != one]
        gone = self._detectors.keys() - present.keys()
        found += [Output("alarms", 0, key.encode(), None) for key in sorted(gone)]
        self._detectors = present
        return found

    def _outputs(self, alarms: list[AlarmRecord]) -> list[Output]:
        return [alarm.output(self._pipeline.name) for alarm in alarms]
