"""Text of the sources of a guessed pipeline."""

from collections.abc import Iterable, Iterator

import orjson

from stream_app.core.reading.decoding import decode_leniently
from stream_app.formatting import iso_time
from stream_app.records import Record
from stream_app.sources import Constant, Epoch, FieldOrigin, LocalTime
from stream_app.starter.generated_pipeline import (
    PipelineParts,
    literal,
    pipeline_files,
    reason_lines,
)
from stream_app.starter.topic_guess import SourceGuess, TopicGuess
from stream_app.starter.topic_sample import TopicSample
from stream_app.transfer.record_rendering import json_text


def topic_files(name: str, guess: TopicGuess) -> dict[str, str]:
    """Return the texts of the files of a pipeline with sources, by file name.

    Args:
        name: name of the pipeline.
        guess: guessed pipeline.
    """
    sample, labels = guess.events.columns.sample, guess.labels
    sources = [guess.events, *([labels] if labels else [])]
    classes = {type(one).__name__ for source in sources for one in source.fields.values()}
    key = guess.key and guess.key.column.name
    absent = f"\n        absent={guess.absent}," if guess.absent else ""
    parts = PipelineParts(
        scored=f"the records of {sample.topic}",
        read=f"Record of {sample.topic}.",
        # A backslash before a line break, as it is written in Python.
        command=first_command(name, guess).replace(" --", " \\\\\n        --"),
        records=" and ".join(_count(source.columns.sample) for source in sources),
        names=sorted({"Label", "Pipeline", "Source", *classes} - {"str"}),
        paths=guess.events.columns.paths,
        key=guess.key,
        key_text="".join(
            [
                f"\n    # Key: {reason_lines(guess.key_reason)}.",
                f"\n    key={literal(key)}," if key else "",
            ]
        ),
        source_text="".join(f"\n{line}" for line in _sources(guess.events, 4)),
        label_text=absent + "".join(f"\n{line}" for line in _sources(labels, 8) if labels),
    )
    return pipeline_files(name, guess.pipeline, parts)


def first_command(name: str, guess: TopicGuess) -> str:
    """Return the command that shows the effect of a change, without a broker if it can."""
    sources = [guess.events, *([guess.labels] if guess.labels else [])]
    if any(source.columns.sample.format == "avro" for source in sources):
        return f"stream-app doctor {name}.py"
    events, *labels = ((sample_file(one), one.columns.source_name) for one in sources)
    options = [f"--labels {file} --label-source {source}" for file, source in labels]
    return " ".join([f"stream-app try {name}.py {events[0]} --source {events[1]}", *options])


def sample_file(source: SourceGuess) -> str:
    """Return the name of the file with the sample of a topic."""
    return f"{source.columns.sample.topic}.jsonl"


def sample_lines(source: SourceGuess) -> str:
    """Return the sample as `stream-app consume --json` writes records."""
    return "".join(f"{_line(record)}\n" for record in source.sample)


def _line(record: Record) -> str:
    fields = {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": iso_time(record.timestamp),
        "key": json_text(record.key),
        "headers": {},
        "value": decode_leniently(record.value, record.headers),
    }
    return orjson.dumps(fields).decode()


def origin_text(origin: FieldOrigin) -> str:
    """Return an origin as it is written in Python.

    >>> origin_text("order.id"), origin_text(Epoch("payment.ts", "s")), origin_text(Constant(True))
    ('"order.id"', 'Epoch("payment.ts", "s")', 'Constant(True)')
    """
    match origin:
        case str():
            return literal(origin)
        case Epoch(path=path, unit=unit):
            return f"Epoch({literal(path)}, {literal(unit)})"
        case LocalTime(path=path, zone=zone):
            return f"LocalTime({literal(path)}, zone={literal(zone)})"
        case Constant(value=value):
            return f"Constant({value!r})"
    return f"{type(origin).__name__}()"


def _count(sample: TopicSample) -> str:
    return f"{len(sample.records):,} of {sample.total:,} records of {sample.topic}"


def _sources(source: SourceGuess | None, indent: int) -> Iterator[str]:
    """Yield the lines of a declaration with one source."""
    if source is None:
        return
    outer, inner = " " * indent, " " * (indent + 8)
    sample = source.columns.sample
    yield f"{outer}sources=("
    yield f"{outer}    Source("
    for remark in _remarks(source):
        yield f"{inner}# {reason_lines(remark, indent + 8)}."
    yield f"{inner}topic={literal(sample.topic)},"
    if source.columns.source_name != sample.topic:
        yield f"{inner}name={literal(source.columns.source_name)},"
    yield f'{inner}# All {sample.total:,} records that the topic has, and new ones; or "latest".'
    yield f'{inner}start="earliest",'
    if sample.format != "json":
        yield f"{inner}format={literal(sample.format)},"
    if sample.envelope:
        yield f"{inner}envelope={literal(sample.envelope)},"
    kind = source.columns.kind
    if kind is not None:
        yield f"{inner}# {reason_lines(kind.reason, indent + 8)}."
        path = "".join(f"[{literal(part)}]" for part in kind.path.split("."))
        yield f"{inner}where=lambda record: record{path} == {literal(kind.value)},"
    if source.fields:
        yield f"{inner}fields={{"
        for name, origin in source.fields.items():
            yield f"{inner}    {literal(name)}: {origin_text(origin)},"
        yield f"{inner}}},"
    yield f"{outer}    ),"
    yield f"{outer}),"


def _remarks(source: SourceGuess) -> Iterable[str]:
    """Yield what was found out about a topic."""
    sample = source.columns.sample
    placement = source.columns.placement()
    partitions = f"{sample.partitions} partition{'s' * (sample.partitions != 1)}"
    yield f"{partitions}; {placement}" if placement else partitions
    for reason, count in sample.left_out.items():
        of = f"{count:,} of {len(sample.records):,} sampled records"
        yield f"{of} are left out: {_REASONS[reason]}"
    if sample.envelope == "debezium" and "filtered" in sample.left_out:
        yield 'Updates are left out; updates="events" makes them events with ids of their own'


_REASONS = {
    "empty": "they have no value and are counted as tombstones",
    "tombstone": "they are deleted rows, counted as tombstones",
    "filtered": "they are changes of the database that are no new rows",
    "repeated": "they equal others and are duplicates",
    "other kind": "the filter leaves them out",
    "unreadable": "they cannot be read and become dead letters",
    "enveloped": "they have another envelope and become dead letters",
}
