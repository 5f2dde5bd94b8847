"""`PipelineHarness`: runs a pipeline in memory, for unit tests."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from stream_app.core.reading.envelopes import Skipped
from stream_app.core.reading.event_time import to_unix_ms
from stream_app.core.reading.identity import identity_text, key_fields
from stream_app.core.reading.record_reader import LabelReader
from stream_app.core.scoring.record_counts import RecordCounts
from stream_app.loading import complete, load_pipeline
from stream_app.offline.engine import Engine
from stream_app.offline.ingesting import Ingested, OfflineIngest
from stream_app.offline.log_order import END_OF_TIME, Timed
from stream_app.offline.record_outcomes import DeadLetterOutcome, EventOutcome, LabelOutcome
from stream_app.offline.timeline import in_time_order, sorted_by_time, time_reader
from stream_app.pipeline import Pipeline
from stream_app.records import Failure, Headers, Record
from stream_app.topic_kinds import InputKind, topic_name
from stream_app.transfer.input_files import avro_to_json, infer_format, read_rows
from stream_app.transfer.json_lines import Row, open_lines

# Record to send: a mapping, which is encoded as JSON, or the bytes of its value.
Fields = Mapping[str, Any] | bytes | None

# Several records, or a file as `stream-app produce` takes it.
Records = Iterable[Mapping[str, Any]] | str | Path

_DERIVED = b"\0derived"


class PipelineHarness:
    """Runs a pipeline as its workers do, without a broker.

    Every call returns after all its consequences: a label that joins is learned at once, and the
    next event is scored by the new version. All records go to one partition.

    Args:
        pipeline: PIPELINE argument of commands (`file.py`, `module:name`), a path, or a `Pipeline`.
        now: time of the workers' clock, as a datetime with a time zone or Unix milliseconds; only
            `advance` moves it. Without it the clock follows the times in the records, so that no
            record is in the future.

    Attributes:
        pipeline: the pipeline, complete and checked.
        now: time of the workers' clock in Unix milliseconds.

    Raises:
        PipelineError: the pipeline cannot be loaded.
        ModelError: the learner would reject the model.

    >>> harness = PipelineHarness("flights")
    >>> harness.event(b"{not json").error_code
    'invalid-json'
    """

    def __init__(
        self, pipeline: str | Path | Pipeline, *, now: datetime | int | None = None
    ) -> None:
        loaded = (
            complete(pipeline) if isinstance(pipeline, Pipeline) else load_pipeline(str(pipeline))
        )
        self.pipeline = loaded
        self.now = 0 if now is None else _milliseconds(now)
        self._follows = now is None
        self._engine = Engine(loaded)
        self._events = time_reader(loaded)
        self._labels = LabelReader(loaded)
        self._sent = {"raw": 0, "labels": 0}
        self._ingests: dict[tuple[InputKind, str], OfflineIngest] = {}

    def event(
        self,
        fields: Fields,
        *,
        key: bytes | str | None = _DERIVED,
        headers: Headers = (),
        source: str | None = None,
    ) -> EventOutcome:
        """Send an event.

        Args:
            fields: content of the event, or the bytes of its value.
            key: key of the record, None for no key; by default the text of the pipeline's key
                fields, but no key in the topic of a source, unless it is read directly.
            headers: headers of the record.
            source: name of the source in whose topic the record is, in the form of that topic; its
                Kafka timestamp is `now`.
        """
        record, result = self._arrived("raw", fields, key, headers, source)
        if result is None:
            return self._score(*self._timed_event(record))
        return EventOutcome(*self._left_out(record, result, label=False))

    def label(
        self,
        fields: Fields,
        *,
        key: bytes | str | None = _DERIVED,
        headers: Headers = (),
        source: str | None = None,
    ) -> LabelOutcome:
        """Send a label; arguments as for `event`."""
        record, result = self._arrived("labels", fields, key, headers, source)
        if result is None:
            return self._join(*self._timed_label(record))
        return LabelOutcome(*self._left_out(record, result, label=True))

    def replay(self, events: Records, labels: Records = ()) -> list[EventOutcome]:
        """Send events in their order, and each label before the first event of a later time.

        The remaining labels come at the end. Lines of a file that `stream-app produce` would not
        send are left out.

        Returns:
            Outcomes of the events.
        """
        arrivals = in_time_order(
            (self._timed_event(record) for record in self._records("raw", events)),
            sorted_by_time(self._timed_label(record) for record in self._records("labels", labels)),
        )
        outcomes = (self._take(*arrival) for arrival in arrivals)
        return [outcome for outcome in outcomes if isinstance(outcome, EventOutcome)]

    def advance(self, by: timedelta) -> None:
        """Move the clock, as after reading an event of the new time.

        Predictions expire, labels without an event are dead-lettered, and windows of event time are
        reported. Windows of the learner's metrics are of label time: only a later label closes
        them.
        """
        self.now += by // timedelta(milliseconds=1)
        self._engine.pass_time(self.now)

    @property
    def model(self) -> Any:
        """The River model in its present state."""
        return self._engine.learner.learned.model

    @property
    def version(self) -> int:
        """Model version that scores the next event: the number of examples so far."""
        return self._engine.model.version

    @property
    def learned(self) -> int:
        """Number of learned examples; fewer than `version` if the model raised for some."""
        return self._engine.learner.learned.examples

    @property
    def metrics(self) -> dict[str, float]:
        """Every defined metric and baseline over all predictions that have a label."""
        return self._engine.metrics()

    @property
    def record_counts(self) -> RecordCounts:
        """Exact counts of the outcomes of all records."""
        return self._engine.record_counts

    @property
    def dead_letters(self) -> list[DeadLetterOutcome]:
        """Dead letters of events and labels, oldest first."""
        return self._engine.dead_letters

    def measurements(
        self, kind: str | None = None, name: str | None = None
    ) -> list[dict[str, Any]]:
        """Return the reports on `<pipeline>.monitoring`, in the form of `schemas/monitoring.avsc`.

        Args:
            kind: only reports of this kind.
            name: only reports of this name.
        """
        return [
            report
            for report in self._engine.monitoring
            if kind in (None, report["kind"]) and name in (None, report["name"])
        ]

    def alarms(self, name: str | None = None) -> list[dict[str, Any]]:
        """Return the alarms of the monitor, in the form of `schemas/alarm.avsc`, at each change.

        Args:
            name: only alarms of this name.
        """
        return [alarm for alarm in self._engine.alarms if name in (None, alarm["name"])]

    def _take(self, time: int | None, record: Record) -> EventOutcome | LabelOutcome:
        return (self._score if record.topic.endswith(".raw") else self._join)(time, record)

    def _score(self, time: int | None, record: Record) -> EventOutcome:
        self._follow(time)
        return self._engine.score(record, self.now)

    def _join(self, time: int | None, record: Record) -> LabelOutcome:
        self._follow(time)
        return self._engine.join(record, self.now)

    def _follow(self, time: int | None) -> None:
        if self._follows and time is not None:
            self.now = max(self.now, time)

    def _timed_event(self, record: Record) -> Timed[Record]:
        event = self._events.read(record, END_OF_TIME)
        return Timed(None if isinstance(event, Failure) else event.event_time, record)

    def _timed_label(self, record: Record) -> Timed[Record]:
        label = self._labels.read(record, END_OF_TIME)
        return Timed(None if isinstance(label, Failure) else label.label_time, record)

    def _records(self, topic: InputKind, records: Records) -> Iterator[Record]:
        if not isinstance(records, str | Path):
            yield from (self._record(topic, fields) for fields in records)
            return
        with open_lines(str(records)) as lines:
            for row in read_rows(
                lines, infer_format(str(records)), self.pipeline, labels=topic == "labels"
            ):
                if isinstance(row, Row):
                    yield self._record(topic, row.value, row.key)

    def _record(
        self,
        topic: InputKind,
        fields: Fields,
        key: bytes | str | None = _DERIVED,
        headers: Headers = (),
        source: str | None = None,
    ) -> Record:
        if key is _DERIVED:
            key = self._key(fields) if source is None else None
        value = avro_to_json(fields) if isinstance(fields, Mapping) else fields
        offset = self._sent[topic]
        self._sent[topic] += 1
        encoded = key.encode() if isinstance(key, str) else key
        return Record(
            topic_name(self.pipeline.name, topic), 0, offset, self.now, encoded, value, headers
        )

    def _arrived(
        self,
        topic: InputKind,
        fields: Fields,
        key: bytes | str | None,
        headers: Headers,
        source: str | None,
    ) -> Ingested:
        """Return a record as it arrives in the pipeline's topic, through `ingest` if it must."""
        record = self._record(topic, fields, key, headers, source)
        if source is None:
            return Ingested(record)
        if (topic, source) not in self._ingests:
            ingest = OfflineIngest(self.pipeline, source, labels=topic == "labels")
            self._ingests[topic, source] = ingest
        found = self._ingests[topic, source]
        sent = record._replace(topic=found.source.topic)
        return found.ingest(sent, record.offset, derives_key=key is _DERIVED)

    def _left_out(
        self, record: Record, result: Skipped | Failure, *, label: bool
    ) -> tuple[Any, ...]:
        """Return the attributes of the outcome of a record that `ingest` does not forward."""
        if not isinstance(result, Failure):
            return (result,)
        dead_letter = self._engine.reject(record, result, self.now, label=label)
        return ("dead-lettered", None, *(() if label else (None,)), dead_letter)

    def _key(self, fields: Fields) -> bytes | None:
        """Return the key that `stream-app produce` gives a record, None if it would not send it."""
        try:
            content = orjson.loads(fields or b"") if not isinstance(fields, Mapping) else fields
            text = identity_text(content, key_fields(self.pipeline))
        except (ValueError, AttributeError):
            return None
        return None if text is None else text.encode()


def _milliseconds(time: datetime | int) -> int:
    """Return Unix milliseconds.

    Raises:
        ValueError: the datetime has no time zone.
    """
    unix_ms = to_unix_ms(time.isoformat() if isinstance(time, datetime) else time)
    if unix_ms is None:
        raise ValueError("now is not a datetime with a time zone, nor Unix milliseconds")
    return unix_ms
