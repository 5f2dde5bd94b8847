"""Reports of a task: measurements to `<p>.monitoring`, log lines and Prometheus metrics."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args

import orjson

from stream_app.core.alarms.alarm_record import decode_alarm
from stream_app.core.monitoring.alarms import CorrectiveActions, LastingAlarms
from stream_app.core.published_records import Kind, Measurement, is_lasting_alarm
from stream_app.core.reading.event_time import NEVER
from stream_app.core.scoring.partition_state import PartitionState
from stream_app.core.scoring.record_counts import RecordCounts
from stream_app.formatting import iso_time
from stream_app.records import InputPartition, Output, Record
from stream_app.telemetry.logs import get_logger
from stream_app.telemetry.metrics import (
    ALARMS,
    ALARMS_OPEN,
    CORRECTIVE_ACTIONS,
    DEAD_LETTERS,
    DEGRADED,
    EVICTED,
    IDLE,
    INPUT_WATERMARK,
    MEASUREMENT,
    RECORDS,
    RETRYING,
    STATE_ENTRIES,
    WATERMARK,
)
from stream_app.topic_kinds import InputKind
from stream_app.worker.outages import Outage, OutageTracker
from stream_app.worker.processor import Processor, WaitReason, WrittenOffsets
from stream_app.worker.roles.output_encoders import Encode, encode_measurements
from stream_app.worker.run_folder import RestartHistory

log = get_logger(__name__)

OUTAGE_ALARM = "outage"
POISON_ALARM = "poison-records"
COUNTED_OUTCOMES: Mapping[str, InputKind] = {
    "scored": "raw",
    "duplicates": "raw",
    "filtered": "raw",
    "tombstones": "raw",
    "expired": "raw",
    "joined": "labels",
    "label_duplicates": "labels",
    "label_expired": "labels",
    "contradicting": "labels",
    "assumed": "raw",
    "absent_unproven": "raw",
    "completeness": "raw",
    "label_completeness": "labels",
}
"""Outcomes with the topic whose records have them; an event that gets no label expires, or gets an
assumed one. Those that are unproven are among the expired ones."""
# Kinds that count no alarms: lasting alarms report breached thresholds of performance.
_UNCOUNTED_KINDS = frozenset({"corrective_action", "performance"})

# Series start at 0, so that the first alarm is an increase.
for _kind in get_args(Kind):
    if _kind not in _UNCOUNTED_KINDS:
        ALARMS.labels(_kind)


class TaskReporter:
    """Reports corrective actions and lasting alarms of one source.

    Args:
        pipeline: name of the pipeline.
        source: a worker, such as score-0, or the task of a partition, such as score[3].
        encode: encoder of measurements.
    """

    def __init__(self, pipeline: str, source: str, encode: Encode) -> None:
        self._pipeline = pipeline
        self._source = source
        self._encode = encode

    def due(self, actions: CorrectiveActions, alarms: LastingAlarms, now: int) -> list[Output]:
        """Return the measurements that are due, for the transaction of what they report.

        Args:
            actions: corrective actions of the source.
            alarms: alarms of the source.
            now: wall-clock time in Unix milliseconds.
        """
        taken, raised = actions.due(now), alarms.due(now)
        if taken:
            log.info(
                "corrective actions", source=self._source, taken=[_line(report) for report in taken]
            )
        reports = [
            report._replace(source=self._source).output(self._pipeline)
            for report in (*taken, *raised)
        ]
        export_measurements(reports)
        return encode_measurements(reports, self._encode)

    def export(self, actions: CorrectiveActions, alarms: LastingAlarms) -> None:
        """Export metrics, after a commit or once the state is restored."""
        for (action, cause), count in actions.take_new().items():
            CORRECTIVE_ACTIONS.labels(action, cause).inc(count)
        for name in alarms.open:
            ALARMS_OPEN.labels(name, self._source, "open").set(1)


class FaultPublisher:
    """Processor that also reports failures of earlier runs and outages of its worker.

    The first subtask that commits reports them. A failure before that commit is reported by the
    next run; after a failure right behind the commit, it is reported twice.

    Args:
        processor: processor of the role, which does the work.
        restarts: exit history of the worker.
        outages: outages of the worker.
        reporter: reporter for the worker.
    """

    def __init__(
        self,
        processor: Processor,
        restarts: RestartHistory,
        outages: OutageTracker,
        reporter: TaskReporter,
    ) -> None:
        self._processor = processor
        self._restarts = restarts
        self._outages = outages
        self._reporter = reporter
        self._actions = CorrectiveActions()
        self._reports_restarts = False
        self._reported_outages: list[Outage] = []

    def restore(self, committed: Mapping[InputPartition, int]) -> Mapping[InputPartition, int]:
        """Restore the processor."""
        return self._processor.restore(committed)

    @property
    def waiting_for(self) -> WaitReason | None:
        """Reason why the processor held records back."""
        return self._processor.waiting_for

    def ready(self, records: Sequence[Record], now: int) -> int:
        """Return the number of records that the processor can process now."""
        return self._processor.ready(records, now)

    def process(self, source: InputPartition, records: Sequence[Record], now: int) -> list[Output]:
        """Process records."""
        return self._processor.process(source, records, now)

    def look(self, now: int, ended: Mapping[InputPartition, int]) -> None:
        """Let the processor note which inputs were read to their end."""
        self._processor.look(now, ended)

    def idle(self, now: int, at_end: bool) -> list[Output]:
        """Return what is due, with the faults of the worker."""
        return self._processor.idle(now, at_end) + self._report(now)

    def before_commit(self, positions: Mapping[InputPartition, int], now: int) -> list[Output]:
        """Return the state of the processor, with the faults of the worker."""
        return self._report(now) + self._processor.before_commit(positions, now)

    def after_commit(self, written: WrittenOffsets) -> None:
        """Mark the faults as reported."""
        if self._reports_restarts:
            self._restarts.mark_reported()
            self._reports_restarts = False
        if self._reported_outages:
            self._outages.mark_reported(self._reported_outages)
            self._reported_outages = []
        self._reporter.export(self._actions, LastingAlarms())
        self._processor.after_commit(written)

    def _report(self, now: int) -> list[Output]:
        outputs: list[Output] = []
        failures = self._restarts.claim()
        if failures:
            self._reports_restarts = True
            for cause, count in failures.items():
                self._actions.add("restart", cause, now, count)
        for outage in self._outages.claim():
            self._reported_outages.append(outage)
            self._actions.add("resume", outage.cause, outage.until)
            outputs += self._reporter.due(CorrectiveActions(), _ended_alarm(outage), now)
        return outputs + self._reporter.due(self._actions, LastingAlarms(), now)


class ExportedMetrics:
    """Committed record counts and state of one scorer's partition, as metrics."""

    def __init__(self) -> None:
        self._exported = RecordCounts()
        # Series start at 0, or an outcome that never happened would look like missing data.
        self._records = {
            outcome: RECORDS.labels("score", topic, outcome)
            for outcome, topic in COUNTED_OUTCOMES.items()
        }

    def start(self, state: PartitionState) -> None:
        """Export a restored state; another worker has exported its counts."""
        self._exported = _copy(state.counts)
        self._export_state(state)

    def update(self, state: PartitionState) -> None:
        """Export a committed state, and what it counted since the one before."""
        counts, exported = state.counts, self._exported
        for outcome, records in self._records.items():
            change = getattr(counts, outcome) - getattr(exported, outcome)
            if change:
                records.inc(change)
        DEGRADED.inc(counts.degraded - exported.degraded)
        for codes, before, topic in (
            (counts.dead, exported.dead, "raw"),
            (counts.label_dead, exported.label_dead, "labels"),
        ):
            for code, count in (codes - before).items():
                DEAD_LETTERS.labels(topic, code).inc(count)
        for kind, count in (counts.evicted - exported.evicted).items():
            EVICTED.labels(kind).inc(count)
        self._exported = _copy(counts)
        self._export_state(state)

    def _export_state(self, state: PartitionState) -> None:
        partition = str(state.partition)
        for status in ("pending", "waiting"):
            STATE_ENTRIES.labels(partition, status).set(getattr(state.counts, status))
        RETRYING.labels(partition).set(state.counts.retrying)
        STATE_ENTRIES.labels(partition, "known").set(len(state.entries))
        clock = state.clock
        if clock.time != NEVER:
            WATERMARK.labels(partition).set(clock.time / 1000)
        for name, one in (("raw", clock.events), ("labels", clock.labels)):
            IDLE.labels(partition, name).set(one.idle_ms / 1000)
            if one.watermark != NEVER:
                INPUT_WATERMARK.labels(partition, name).set(one.watermark / 1000)


def log_alarms(outputs: Iterable[Output]) -> None:
    """Log the records of `<p>.alarms` among the outputs; their metric is that of the follower."""
    for output in outputs:
        alarm = decode_alarm(output.value) if output.topic == "alarms" else None
        if alarm is not None:
            write = log.warning if alarm.is_open else log.info
            write(
                "alarm" if alarm.is_open else "alarm closed",
                id=alarm.id,
                cause=alarm.cause,
                since=iso_time(alarm.since),
                times=alarm.n,
                strength=round(alarm.strength, 3),
            )


def export_measurements(outputs: Iterable[Output]) -> None:
    """Export the measurements among the outputs: values, breached limits by kind, open alarms.

    Lasting alarms also go to the log.
    """
    for output in outputs:
        if output.topic == "monitoring" and output.value is not None:
            measurement = orjson.loads(output.value)
            if is_lasting_alarm(measurement):
                source = measurement["source"] or ""
                ALARMS_OPEN.labels(measurement["name"], source, "open").set(measurement["breached"])
                _log_alarm(measurement)
            else:
                _export_value(measurement)


def _export_value(measurement: Mapping[str, Any]) -> None:
    kind, value = measurement["kind"], measurement["value"]
    if value is not None:
        MEASUREMENT.labels(kind, measurement["name"], measurement["reference"] or "").set(value)
    if measurement["breached"] and kind not in _UNCOUNTED_KINDS:
        ALARMS.labels(kind).inc()


def _log_alarm(alarm: Mapping[str, Any]) -> None:
    window, breached = alarm["window"], alarm["breached"]
    write = log.warning if breached else log.info
    write(
        "alarm" if breached else "alarm ended",
        source=alarm["source"],
        name=alarm["name"],
        cause=alarm["reference"],
        times=alarm["n"],
        value=alarm["value"],
        limit=alarm["threshold"],
        lasts_seconds=round((window["end"] - window["start"]) / 1000, 1),
    )


def _line(report: Measurement) -> str:
    return f"{report.name} {report.reference}: {report.n}"


def _ended_alarm(outage: Outage) -> LastingAlarms:
    """Return the alarm of a finished outage; its value is the duration in seconds."""
    alarms = LastingAlarms()
    duration = (outage.until - outage.since) / 1000
    alarms.raise_(OUTAGE_ALARM, outage.cause, outage.since, value=duration)
    alarms.end(OUTAGE_ALARM, outage.until)
    return alarms


def _copy(counts: RecordCounts) -> RecordCounts:
    return RecordCounts.from_dict(counts.as_dict())
