"""The monitor role: one task over every partition of scored records, and the examples."""

import zlib
from collections.abc import Mapping, Sequence

import orjson

from stream_app.core.evaluation.prediction_tasks import task_of
from stream_app.core.example import Example
from stream_app.core.learning.examples_log import control_in, decode_example
from stream_app.core.monitoring.window_monitor import WindowMonitor
from stream_app.core.reading.decoding import NO_SCHEMAS, Schemas, decode
from stream_app.errors import ModelError
from stream_app.kafka.reader import TopicReader
from stream_app.pipeline import Pipeline
from stream_app.records import Failure, InputPartition, Output, Record
from stream_app.schema_registry.schema_cache import SchemaCache
from stream_app.topic_kinds import topic_name
from stream_app.worker.processor import WaitReason
from stream_app.worker.roles.output_encoders import Write, measurements_written
from stream_app.worker.roles.reporting import show_measurements

STATE_KEY = b"state"
QUIET_MS = 60_000  # wall clock; an input that brought nothing for so long holds no window open
STATE_MS = 5_000


class MonitorProcessor:
    """Drives a `WindowMonitor` inside a task.

    The state is written with every transaction that reports something, else every 5 s; a restart goes on at the offsets
    in the state, which may be before the committed ones. So each window is reported exactly once.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        reader: TopicReader,
        cache: SchemaCache,
        write: Write = orjson.dumps,
    ) -> None:
        self.waiting_for: WaitReason | None = None
        self._pipeline = pipeline
        self._task = task_of(pipeline)
        self._reader = reader
        self._cache = cache
        self._write = write
        self._schemas: Schemas = NO_SCHEMAS
        self._scored = topic_name(pipeline.name, "scored")
        self._monitor = WindowMonitor(pipeline)
        self._next: dict[InputPartition, int] = {}
        self._heard: dict[InputPartition, int] = {}
        self._written_at = -1
        self._changed = False
        self._reported = False
        self.undecodable = 0

    def restore(self, committed: Mapping[InputPartition, int]) -> Mapping[InputPartition, int]:
        """The newest state, and the offsets it stands for."""
        latest = dict(self._reader.read_all(f"{self._pipeline.name}.monitor.state", 0))
        value = latest.get(STATE_KEY)
        if value is None:
            self._next = dict.fromkeys(committed, -1)
        else:
            self._load(value, committed)
        return dict(self._next)

    def ready(self, records: Sequence[Record], now: int) -> int:
        """Those whose schemas are known."""
        count, self._schemas = self._cache.ready(records)
        self.waiting_for = WaitReason.SCHEMA_REGISTRY if count < len(records) else None
        return count

    def process(self, source: InputPartition, records: Sequence[Record], now: int) -> list[Output]:
        """Note the records; report the windows that are complete."""
        self._start(now)
        self._heard[source] = now
        note = self._note_scored if source.topic == self._scored else self._note_example
        for record in records:
            note(_name(source), record)
        self._changed = True
        self._next[source] = records[-1].offset + 1
        quiet = now - QUIET_MS
        return self._close(
            [_name(source) for source, heard in self._heard.items() if heard > quiet]
        )

    def idle(self, now: int, at_end: bool) -> list[Output]:
        """With every input read to its end nothing holds a window open, and there is time to write the state."""
        if not at_end:
            return []
        self._start(now)
        outputs = self._close([])
        if not outputs and self._changed and now - self._written_at >= STATE_MS:
            return [self._state(now)]
        return outputs

    def before_commit(self, positions: Mapping[InputPartition, int], now: int) -> list[Output]:
        """The state, if something was reported or it has not been written for a while."""
        self._next |= positions
        if now < self._written_at:
            self._written_at = now
        if not (self._reported or (self._changed and now - self._written_at >= STATE_MS)):
            return []
        return [self._state(now)]

    def after_commit(self) -> None:
        """Nothing is left to do."""

    def _state(self, now: int) -> Output:
        """The record that a restart goes on from; compressed, for with many variables it is large at first."""
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
                f"the state of {self._pipeline.name}.monitor.state cannot be read: {type(error).__name__}",
                "Delete and create the topic again; the monitor then starts over from the scored records",
            ) from None
        for (
            source,
            offset,
        ) in offsets.items():  # what retention has deleted meanwhile can only be left out
            self._next[source] = offset if offset < 0 else max(offset, self._reader.ends(source)[0])

    def _start(self, now: int) -> None:
        """Inputs that have brought nothing yet hold windows open too, for a while."""
        if not self._heard:
            self._heard = dict.fromkeys(self._next, now)

    def _close(self, active: list[str]) -> list[Output]:
        outputs = self._monitor.close(active)
        show_measurements(outputs)
        self._reported = self._reported or bool(outputs)
        return measurements_written(outputs, self._write)

    def _note_scored(self, source: str, record: Record) -> None:
        fields = decode(record.value, record.headers, self._schemas)
        if isinstance(fields, Failure):
            self.undecodable += 1
            return
        try:
            self._monitor.scored(source, fields)
        except (ValueError, KeyError, TypeError):
            self.undecodable += 1

    def _note_example(self, source: str, record: Record) -> None:
        example = decode_example(record.value, self._task)
        if isinstance(example, Example):
            self._monitor.example(source, example)
        elif control_in(record.key, record.value) is None:
            self.undecodable += 1


def _name(source: InputPartition) -> str:
    return f"{source.topic}/{source.partition}"
