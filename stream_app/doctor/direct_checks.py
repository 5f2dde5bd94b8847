"""Checks of a topic that scorers read directly: its keys, and the partitioner of its producers."""

from collections.abc import Iterator, Sequence

from stream_app.core.reading.direct_reading import DirectIntake
from stream_app.doctor.context import CheckResult, DoctorContext, ok, problem, skipped
from stream_app.kafka.partitioner import PARTITIONERS, Partitioner, partitioner_of
from stream_app.kafka.retrying_reader import as_record
from stream_app.offline.log_order import END_OF_TIME
from stream_app.offline.timeline import time_reader
from stream_app.pipeline import Pipeline, direct_source
from stream_app.records import Failure, Record
from stream_app.schema_registry.schema_cache import open_schema_cache
from stream_app.status.cluster_view import offset_bounds

# Newest records of the topic that are checked.
SAMPLE_SIZE = 2_000
# Fewer keys may be where they are by chance.
MIN_KEYS = 10
_CODES = ("missing-key", "key-mismatch")


def check_direct(context: DoctorContext) -> Iterator[CheckResult]:
    """Check that keys of the topic are the text of K, and where its partitioner puts them."""
    source = direct_source(context.pipeline)
    if source is None:
        return
    topic = context.metadata.topics.get(source.topic)
    if topic is None or not topic.partitions:
        # The check of the sources says so.
        yield skipped(f"{source.topic} does not exist")
        return
    count = len(topic.partitions)
    bounds = offset_bounds(context.admin, [(source.topic, one) for one in topic.partitions])
    each = max(1, SAMPLE_SIZE // count)
    newest = {one: (max(low, end - each), end) for one, (low, end) in bounds.items()}
    records = [as_record(message) for message in context.view.reader.records(newest)]
    schemas = open_schema_cache(context.settings.registry)
    intake, reader = DirectIntake(context.pipeline), time_reader(context.pipeline)
    read = [
        reader.read(sent, END_OF_TIME, schemas)
        for sent, result in (intake.read(record, schemas) for record in records)
        if result is None
    ]
    codes = [one.code for one in read if isinstance(one, Failure) and one.code in _CODES]
    if codes:
        yield problem(
            f"{len(codes)} of the {len(read)} newest events of {source.topic} do not have the key "
            f"of the pipeline: they are dead letters `{max(codes, key=codes.count)}`",
            "Set key to the field whose text is the record's key, or leave direct out",
        )
    yield from evaluate_placement(context.pipeline, records, count)


def evaluate_placement(
    pipeline: Pipeline, records: Sequence[Record], partitions: int
) -> Iterator[CheckResult]:
    """Yield a result for the partitioner of a direct source, by the keys of some records.

    Args:
        pipeline: pipeline with a direct source.
        records: records of its topic.
        partitions: number of partitions of the topic.
    """
    source = direct_source(pipeline)
    topic = "" if source is None else source.topic
    keyed = sorted({(one.key, one.partition) for one in records if one.key})
    if not keyed:
        yield skipped(f"{topic} has no keys to find the partitioner of its producers by")
        return
    declared = partitioner_of(pipeline)
    wrong = _misplaced(declared, keyed, partitions)
    if not wrong:
        yield ok(f"{topic}: {len(keyed)} keys are where {declared.name} puts them, as declared")
        return
    found = [
        one
        for one in PARTITIONERS.values()
        if len(keyed) >= MIN_KEYS and not _misplaced(one, keyed, partitions)
    ]
    message = f"{topic}: {wrong} of {len(keyed)} keys are not where {declared.name} puts them"
    if found:
        yield problem(
            f"{message}, but all are where {found[0].name} does ({found[0].clients})",
            f'Declare partitioner="{found[0].name}" of source '
            f"{'' if source is None else source.source_name}",
        )
    else:
        yield problem(
            f"{message}: these records are dead letters `wrong-partition`",
            "Leave direct out, so that ingest places the records; or give all producers the "
            "declared partitioner",
        )


def _misplaced(
    partitioner: Partitioner, keyed: Sequence[tuple[bytes | None, int]], partitions: int
) -> int:
    """Return the number of keys that are not where a partitioner puts them."""
    return sum(partitioner.place(key or b"", partitions) != number for key, number in keyed)
