"""Monitor role: reports windows over all scored records and the examples, and raises alarms.

If the pipeline declares so, it also pauses learning from a source that an alarm is about.
"""

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import cast

import orjson

from stream_app.core.alarms.alarm_log import AlarmLog
from stream_app.core.alarms.stream_monitor import StreamMonitor
from stream_app.core.evaluation.prediction_tasks import task_of
from stream_app.core.examples import Example, decode_example
from stream_app.core.learning.control_commands import VERSION_CHANGES, control_in
from stream_app.core.monitoring.log_alignment import LogAlignment
from stream_app.core.monitoring.partition_watermark import (
    WINDOW_KEY,
    decode_watermark,
    decode_window,
)
from stream_app.core.published_records import ScoredRecord
from stream_app.core.reading.decoding import NO_SCHEMAS, Schemas, decode
from stream_app.errors import ModelError
from stream_app.kafka.retrying_reader import TopicReader
from stream_app.pipeline import Pipeline
from stream_app.records import Failure, InputPartition, Output, Record
from stream_app.schema_registry.schema_cache import SchemaCache
from stream_app.telemetry.metrics import WINDOWS_PASSED
from stream_app.topic_kinds import topic_name
from stream_app.worker.processor import WaitReason, WrittenOffsets
from stream_app.worker.roles.output_encoders import Encode, encode_measurements
from stream_app.worker.roles.reporting import export_measurements, log_alarms
from stream_app.worker.roles.source_pauses import SourcePauses

STATE_KEY = b"state"
# Interval between two writes of the state when nothing is reported.
STATE_INTERVAL_MS = 5_000


class MonitorProcessor:
    """Drives the `StreamMonitor` of a pipeline.

    What it reports is a function of its logs: watermarks, scored records and examples.
    `LogAlignment` says how far each may be read.

    The state is written with every transaction that reports something, else every 5 s. A restart
    continues at the offsets in the state, which may be before the committed ones, so each window
    is reported exactly once.

    Args:
        pipeline: loaded pipeline.
        inputs: partitions of the logs.
        reader: reader of Kafka topics.
        schemas: cache of the schemas that Avro records name.
        encode: encoder of measurements.

    Attributes:
        waiting_for: reason why `ready` held records back, or None.
        undecodable: number of records that could not be read.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        inputs: Sequence[InputPartition],
        reader: TopicReader,
        schemas: SchemaCache,
        encode: Encode = orjson.dumps,
    ) -> None:
        self.waiting_for: WaitReason | None = None
        self._pipeline = pipeline
        self._task = task_of(pipeline)
        self._reader = reader
        self._cache = schemas
        self._encode = encode
        self._schemas: Schemas = NO_SCHEMAS
        self._scored = topic_name(pipeline.name, "scored")
        self._examples = topic_name(pipeline.name, "examples")
        self._state_topic = topic_name(pipeline.name, "monitor.state")
        self._alarm_topic = topic_name(pipeline.name, "alarms")
        self._monitor = StreamMonitor(pipeline)
        self._pauses = SourcePauses(pipeline)
        scored = [source.partition for source in inputs if source.topic == self._scored]
        self._alignment = LogAlignment(scored)
        self._next: dict[InputPartition, int] = {}
        self._written_at = -1
        self._changed = False
        self._reported = False
        # Records of alarms that `<p>.alarms` lacks, for the next transaction.
        self._lacking: list[Output] = []
        self.undecodable = 0

    def restore(self, committed: Mapping[InputPartition, int]) -> Mapping[InputPartition, int]:
        """Load the newest state and return the offsets in it.

        Raises:
            ModelError: the state is damaged.
        """
        latest = dict(self._reader.read_all(self._state_topic, 0))
        value = latest.get(STATE_KEY)
        offsets = dict.fromkeys(committed, -1) if value is None else self._load(value, committed)
        for source, offset in offsets.items():
            # Records that retention has deleted are skipped.
            self._next[source] = max(offset, self._reader.ends(source)[0])
            self._move(source, self._next[source])
        # An open transaction of a command hides the monitor's own records behind it.
        log = AlarmLog.of(self._reader.read_stable(self._alarm_topic, 0))
        self._pauses.restore(log.alarms)
        lacking = log.differences(self._monitor.open_alarms)
        self._lacking = [one.output(self._pipeline.name) for one in lacking]
        return dict(self._next)

    def ready(self, records: Sequence[Record], now: int) -> int:
        """Return the number of records, counted from the first, that can be processed now.

        Their schemas must be known, and the watermarks that hold for them.
        """
        first = records[0]
        source = InputPartition(first.topic, first.partition)
        self._move(source, first.offset)
        allowed = len(records)
        limit = self._limit(source, first.offset)
        if limit is not None and records[-1].offset >= limit:
            allowed = sum(record.offset < limit for record in records)
        count, self._schemas = self._cache.ready(records[:allowed]) if allowed else (0, NO_SCHEMAS)
        self.waiting_for = None
        if count < allowed:
            self.waiting_for = WaitReason.SCHEMA_REGISTRY
        elif allowed < len(records):
            self.waiting_for = WaitReason.WATERMARK
        return count

    def process(self, source: InputPartition, records: Sequence[Record], now: int) -> list[Output]:
        """Add records to their windows and report the windows that are complete."""
        add: Callable[[Record], None]
        if source.topic == self._scored:
            add = self._add_scored
        else:
            add = self._add_example if source.topic == self._examples else self._add_watermark
        for record in records:
            add(record)
        self._changed = True
        self._next[source] = records[-1].offset + 1
        return self._close(now)

    def look(self, now: int, ended: Mapping[InputPartition, int]) -> None:
        """Move on to the ends of inputs: there is nothing left to read before them."""
        for source, end in ended.items():
            self._move(source, end)

    def idle(self, now: int, at_end: bool) -> list[Output]:
        """Report windows that became complete; otherwise write the state if it is due."""
        outputs = self._close(now)
        if not outputs and self._is_state_due(now):
            return [self._state(now)]
        return outputs

    def before_commit(self, positions: Mapping[InputPartition, int], now: int) -> list[Output]:
        """Return the state if something was reported, or if it is due."""
        self._next |= positions
        if now < self._written_at:
            self._written_at = now
        if not (self._reported or self._is_state_due(now)):
            return []
        return [self._state(now)]

    def after_commit(self, written: WrittenOffsets) -> None:
        """Does nothing."""

    def _move(self, source: InputPartition, offset: int) -> None:
        if source.topic == self._scored:
            self._alignment.move(source.partition, offset)
        elif source.topic == self._examples:
            self._alignment.examples = max(self._alignment.examples, offset)

    def _limit(self, source: InputPartition, position: int) -> int | None:
        """Return the offset up to which an input may be read now, None without a limit."""
        if source.topic == self._scored:
            return self._alignment.scored_limit(source.partition)
        if source.topic == self._examples:
            return self._alignment.examples_limit()
        return position if self._alignment.is_full else None

    def _is_state_due(self, now: int) -> bool:
        return self._changed and now - self._written_at >= STATE_INTERVAL_MS

    def _state(self, now: int) -> Output:
        """Return the record from which a restart continues.

        It is compressed, because with many variables the state is large.
        """
        self._written_at = now
        self._changed = self._reported = False
        offsets = {_name(source): offset for source, offset in self._next.items()}
        state = {
            "offsets": offsets,
            "undecodable": self.undecodable,
            "alignment": self._alignment.to_state(),
            "monitor": self._monitor.to_state(),
        }
        return Output("monitor.state", 0, STATE_KEY, zlib.compress(orjson.dumps(state), 1))

    def _load(
        self, value: bytes, committed: Mapping[InputPartition, int]
    ) -> dict[InputPartition, int]:
        try:
            state = orjson.loads(zlib.decompress(value))
            self._monitor = StreamMonitor.from_state(self._pipeline, state["monitor"])
            self._alignment.restore(state["alignment"])
            self.undecodable = state["undecodable"]
            return {source: state["offsets"].get(_name(source), -1) for source in committed}
        except (ValueError, KeyError, TypeError, zlib.error) as error:
            raise ModelError(
                f"the state in {self._state_topic} cannot be read: {type(error).__name__}",
                "Delete and create the topic; the monitor then starts over from the scored records",
            ) from None

    def _close(self, now: int) -> list[Output]:
        outputs: list[Output] = []
        while (passed := self._alignment.pass_next()) is not None:
            self._changed = True
            if passed.kind == "window":
                self._monitor.windows.change_window(passed.time, passed.length)
                continue
            WINDOWS_PASSED.labels(passed.kind).set(passed.time / 1000)
            if passed.kind == "events":
                outputs += self._monitor.pass_events(passed.time)
            else:
                outputs += self._monitor.pass_clock(passed.time)
        outputs += self._pauses.outputs(outputs, now)
        outputs, self._lacking = self._lacking + outputs, []
        export_measurements(outputs)
        log_alarms(outputs)
        self._reported = self._reported or bool(outputs)
        return encode_measurements(outputs, self._encode)

    def _add_watermark(self, record: Record) -> None:
        found, length = decode_watermark(record.value), None
        if record.key == WINDOW_KEY:
            length = decode_window(record.value)
        if found is not None:
            self._alignment.add(found)
        elif length is not None:
            self._alignment.change_window(length)
        else:
            self.undecodable += 1

    def _add_scored(self, record: Record) -> None:
        reached = self._alignment.reached(record.partition, record.offset)
        if reached is None:
            return
        fields = decode(record.value, record.headers, self._schemas)
        if isinstance(fields, Failure):
            self.undecodable += 1
            return
        try:
            self._monitor.scored(cast(ScoredRecord, fields), record.key, reached)
        except (ValueError, KeyError, TypeError):
            self.undecodable += 1

    def _add_example(self, record: Record) -> None:
        if not self._alignment.counts_example(record.offset):
            return
        example = decode_example(record.value, self._task)
        if isinstance(example, Example):
            self._monitor.example(example, record.offset)
            return
        control = control_in(record.key, record.value)
        if control is None:
            self.undecodable += 1
        elif control.command in VERSION_CHANGES:
            self._monitor.change_version()


def _name(source: InputPartition) -> str:
    return f"{source.topic}/{source.partition}"
