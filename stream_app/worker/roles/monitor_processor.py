"""Monitor role: reports window metrics over all scored records and the examples log."""

import zlib
from collections.abc import Collection, Mapping, Sequence
from typing import cast

import orjson

from stream_app.core.evaluation.prediction_tasks import task_of
from stream_app.core.examples import Example, decode_example
from stream_app.core.learning.control_commands import control_in
from stream_app.core.monitoring.window_monitor import WindowMonitor
from stream_app.core.published_records import ScoredRecord
from stream_app.core.reading.decoding import NO_SCHEMAS, Schemas, decode
from stream_app.errors import ModelError
from stream_app.kafka.retrying_reader import TopicReader
from stream_app.pipeline import Pipeline
from stream_app.records import Failure, InputPartition, Output, Record
from stream_app.schema_registry.schema_cache import SchemaCache
from stream_app.topic_kinds import topic_name
from stream_app.worker.processor import WaitReason
from stream_app.worker.roles.output_encoders import Encode, encode_measurements
from stream_app.worker.roles.reporting import export_measurements

STATE_KEY = b"state"
# An input without records for this wall-clock time no longer holds windows open.
QUIET_MS = 60_000
# Interval between two writes of the state when nothing is reported.
STATE_INTERVAL_MS = 5_000


class MonitorProcessor:
    """Drives the `WindowMonitor` of a pipeline.

    The state is written with every transaction that reports something, else every 5 s. A restart
    continues at the offsets in the state, which may be before the committed ones, so each window
    is reported exactly once.

    Args:
        pipeline: loaded pipeline.
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
        self._state_topic = topic_name(pipeline.name, "monitor.state")
        self._monitor = WindowMonitor(pipeline)
        self._next: dict[InputPartition, int] = {}
        # Wall-clock time of the last record of each input, in Unix milliseconds.
        self._last_seen: dict[InputPartition, int] = {}
        self._written_at = -1
        self._changed = False
        self._reported = False
        self.undecodable = 0

    def restore(self, committed: Mapping[InputPartition, int]) -> Mapping[InputPartition, int]:
        """Load the newest state and return the offsets in it.

        Raises:
            ModelError: the state is damaged.
        """
        latest = dict(self._reader.read_all(self._state_topic, 0))
        value = latest.get(STATE_KEY)
        if value is None:
            self._next = dict.fromkeys(committed, -1)
        else:
            self._load(value, committed)
        return dict(self._next)

    def ready(self, records: Sequence[Record], now: int) -> int:
        """Return the number of records, counted from the first, whose schemas are known."""
        count, self._schemas = self._cache.ready(records)
        self.waiting_for = WaitReason.SCHEMA_REGISTRY if count < len(records) else None
        return count

    def process(self, source: InputPartition, records: Sequence[Record], now: int) -> list[Output]:
        """Add records to their windows and report the windows that are complete."""
        self._start(now)
        self._last_seen[source] = now
        add = self._add_scored if source.topic == self._scored else self._add_example
        for record in records:
            add(_name(source), record)
        self._changed = True
        self._next[source] = records[-1].offset + 1
        quiet_since = now - QUIET_MS
        return self._close(
            [_name(source) for source, seen in self._last_seen.items() if seen > quiet_since]
        )

    def look(self, now: int, ended: Collection[InputPartition]) -> None:
        """Do nothing: only scorers need to know it."""

    def idle(self, now: int, at_end: bool) -> list[Output]:
        """Report all windows that are past once every input is read to its end.

        Nothing holds a window open then. Otherwise the state is written if it is due.
        """
        if not at_end:
            return []
        self._start(now)
        outputs = self._close([])
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

    def after_commit(self) -> None:
        """Does nothing."""

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
            "monitor": self._monitor.to_state(),
        }
        return Output("monitor.state", 0, STATE_KEY, zlib.compress(orjson.dumps(state), 1))

    def _load(self, value: bytes, committed: Mapping[InputPartition, int]) -> None:
        try:
            state = orjson.loads(zlib.decompress(value))
            self._monitor = WindowMonitor.from_state(self._pipeline, state["monitor"])
            self.undecodable = state["undecodable"]
            offsets = {source: state["offsets"].get(_name(source), -1) for source in committed}
        except (ValueError, KeyError, TypeError, zlib.error) as error:
            raise ModelError(
                f"the state in {self._state_topic} cannot be read: {type(error).__name__}",
                "Delete and create the topic; the monitor then starts over from the scored records",
            ) from None
        # Records that retention has deleted are skipped.
        for source, offset in offsets.items():
            self._next[source] = offset if offset < 0 else max(offset, self._reader.ends(source)[0])

    def _start(self, now: int) -> None:
        """Let inputs without any record hold windows open too, for `QUIET_MS`."""
        if not self._last_seen:
            self._last_seen = dict.fromkeys(self._next, now)

    def _close(self, active: list[str]) -> list[Output]:
        outputs = self._monitor.close(active)
        export_measurements(outputs)
        self._reported = self._reported or bool(outputs)
        return encode_measurements(outputs, self._encode)

    def _add_scored(self, source: str, record: Record) -> None:
        fields = decode(record.value, record.headers, self._schemas)
        if isinstance(fields, Failure):
            self.undecodable += 1
            return
        try:
            self._monitor.scored(source, cast(ScoredRecord, fields))
        except (ValueError, KeyError, TypeError):
            self.undecodable += 1

    def _add_example(self, source: str, record: Record) -> None:
        example = decode_example(record.value, self._task)
        if isinstance(example, Example):
            self._monitor.example(source, example)
        elif control_in(record.key, record.value) is None:
            self.undecodable += 1


def _name(source: InputPartition) -> str:
    return f"{source.topic}/{source.partition}"
