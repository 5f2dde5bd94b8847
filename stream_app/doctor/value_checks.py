"""Checks of the values that producers send: units of times, and bounds of numbers."""

from collections.abc import Iterator, Sequence

from stream_app.core.reading.decoding import Schemas
from stream_app.core.reading.event_time import SUSPICION, UNIT_REMEDY, is_suspect
from stream_app.core.reading.record_reader import Event, LabelEvent, LabelReader
from stream_app.doctor.context import CheckResult, DoctorContext, ok, skipped, warning
from stream_app.doctor.topic_checks import newest_records
from stream_app.kafka.log_reader import as_record
from stream_app.offline.proposed_bounds import propose_bounds
from stream_app.offline.timeline import END_OF_TIME, time_reader
from stream_app.pipeline import Pipeline
from stream_app.records import Record
from stream_app.schema_registry.schema_cache import open_schema_cache


def check_values(context: DoctorContext) -> Iterator[CheckResult]:
    """Check the newest events and labels; numbers without declared bounds get a proposal."""
    schemas = open_schema_cache(context.settings.registry)
    events = [as_record(message) for message in newest_records(context, "raw")]
    labels = [as_record(message) for message in newest_records(context, "labels")]
    yield from evaluate_times(context.pipeline, events, labels, schemas)
    yield from evaluate_numbers(context.pipeline, events, schemas)


def evaluate_times(
    pipeline: Pipeline, events: Sequence[Record], labels: Sequence[Record], schemas: Schemas
) -> Iterator[CheckResult]:
    """Yield a warning for events and for labels whose times seem to have a wrong unit."""
    event_reader, label_reader = time_reader(pipeline), LabelReader(pipeline)
    read_events = [event_reader.read(record, END_OF_TIME, schemas) for record in events]
    read_labels = [label_reader.read(record, END_OF_TIME, schemas) for record in labels]
    times = {
        "events": [one.event_time for one in read_events if isinstance(one, Event)],
        "labels": [one.label_time for one in read_labels if isinstance(one, LabelEvent)],
    }
    for kind, found in times.items():
        suspect = sum(map(is_suspect, found))
        if suspect:
            yield warning(
                f"the time of {suspect} of the {len(found)} newest {kind} {SUSPICION}", UNIT_REMEDY
            )
        elif found:
            yield ok(f"the times of the {len(found)} newest {kind} seem to have the right unit")


def evaluate_numbers(
    pipeline: Pipeline, events: Sequence[Record], schemas: Schemas
) -> Iterator[CheckResult]:
    """Yield the proposed bounds of numbers that declare none."""
    if not events:
        yield skipped("there is no event to propose bounds of numbers from")
    for one in propose_bounds(pipeline, events, schemas):
        yield ok(
            f"no bounds are declared for {one.field}; proposal for `clean`: {one.line}, "
            f"from {one.reason}"
        )
