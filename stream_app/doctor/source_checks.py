"""Check of the newest records of sources: what would become of them, before anything runs."""

from collections import Counter
from collections.abc import Iterator, Sequence

from stream_app.core.reading.decoding import Schemas
from stream_app.core.reading.event_time import SUSPICION, is_suspect
from stream_app.core.reading.record_reader import Event, LabelReader
from stream_app.doctor.context import CheckResult, DoctorContext, ok, skipped, warning
from stream_app.errors import AccessError, TopicsError
from stream_app.formatting import counted
from stream_app.kafka.retrying_reader import as_record
from stream_app.offline.ingesting import OfflineIngest
from stream_app.offline.log_order import END_OF_TIME
from stream_app.offline.timeline import time_reader
from stream_app.pipeline import Pipeline
from stream_app.records import Failure, Record
from stream_app.schema_registry.schema_cache import open_schema_cache
from stream_app.sources import Source

# Newest records of a topic that are read, of all partitions together.
_SAMPLE_SIZE = 500
# Messages of one source that are shown, the most frequent first.
_MAX_MESSAGES = 3
_FAILURE_REMEDY = (
    "Correct fields or envelope of the source; `stream-app try` on a sample of the topic shows "
    "each record"
)
_FILTER_REMEDY = "Correct where of the source, unless the topic had no other records lately"
_UNIT_REMEDY = "Correct the unit in Epoch(...), or declare the unit that is sent"


def check_source_values(context: DoctorContext) -> Iterator[CheckResult]:
    """Check the newest records of each source as ingest and the scorer would read them."""
    schemas = open_schema_cache(context.settings.registry)
    pipeline = context.pipeline
    for sources, labels in ((pipeline.sources, False), (pipeline.label.sources, True)):
        for source in sources:
            try:
                records = _newest(context, source.topic)
            except (AccessError, TopicsError):
                # An earlier check reports it.
                yield skipped(f"the records of {source.topic}, which cannot be read")
                continue
            yield from evaluate_source(pipeline, source, records, schemas, labels=labels)


def _newest(context: DoctorContext, topic: str) -> list[Record]:
    reader = context.view.reader
    bounds = reader.topic_bounds([topic])
    each = max(1, _SAMPLE_SIZE // max(1, len(bounds)))
    ranges = {one: (max(low, end - each), end) for one, (low, end) in bounds.items()}
    return [as_record(message) for message in reader.records(ranges)]


def evaluate_source(
    pipeline: Pipeline, source: Source, records: Sequence[Record], schemas: Schemas, *, labels: bool
) -> Iterator[CheckResult]:
    """Yield a warning for each reason why records are rejected, and for suspicious times."""
    topic, kind = source.topic, "label" if labels else "event"
    if not records:
        yield skipped(f"{topic} has no record to read as {kind}s")
        return
    ingest = OfflineIngest(pipeline, source.source_name, labels=labels)
    reader = LabelReader(pipeline) if labels else time_reader(pipeline)
    outcomes, messages, times = Counter[str](), Counter[str](), list[int]()
    for offset, record in enumerate(records):
        forwarded, left_out = ingest.ingest(record, offset, schemas)
        found = left_out or reader.read(forwarded, END_OF_TIME, schemas)
        if isinstance(found, str):
            outcomes[found] += 1
        elif isinstance(found, Failure):
            messages[f"{found.code}, {found.message}"] += 1
        else:
            times.append(found.event_time if isinstance(found, Event) else found.label_time)
    newest = f"{len(records)} newest records of {topic}"
    for message, count in messages.most_common(_MAX_MESSAGES):
        yield warning(f"{count} of the {newest} would be dead letters: {message}", _FAILURE_REMEDY)
    if outcomes["filtered"] == len(records):
        yield warning(f"all {newest} are left out by the filter", _FILTER_REMEDY)
    suspect = sum(map(is_suspect, times))
    if suspect:
        yield warning(f"the time of {suspect} of the {newest} {SUSPICION}", _UNIT_REMEDY)
    elif times:
        rest = "".join(f", {count} {name}" for name, count in outcomes.items())
        yield ok(f"the {newest} would be: {counted(len(times), kind)}{rest}")
