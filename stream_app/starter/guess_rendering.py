"""Guesses as lines of a report, each with its reason."""

from collections.abc import Iterator

from stream_app.starter.generated_pipeline import KNOWN_AT
from stream_app.starter.generated_sources import origin_text
from stream_app.starter.pipeline_guess import PipelineGuess
from stream_app.starter.topic_guess import CHOOSE, SourceGuess, TopicGuess


def guess_lines(guess: PipelineGuess) -> Iterator[str]:
    """Yield the guesses about a table, one a line, with their reasons."""
    yield from _roles(guess)
    yield f"order          {guess.order}"
    for role in guess.left_out:
        yield f"left out       {role.column.name}: {role.reason}"


def topic_guess_lines(guess: TopicGuess) -> Iterator[str]:
    """Yield the guesses about topics, one a line, with their reasons; choices come last."""
    yield from _topic("events", guess.events)
    if guess.labels is not None:
        yield from _topic("labels", guess.labels)
    key = guess.key.column.name if guess.key else guess.pipeline.event_id.column.name
    yield f"key            {key}: {guess.key_reason}"
    for line in guess_lines(guess.pipeline):
        yield line.replace(CHOOSE, "")
    for choice in guess.choices():
        yield f"CHOOSE         {choice}"


def _topic(kind: str, source: SourceGuess) -> Iterator[str]:
    sample = source.columns.sample
    parts = [
        f"{len(sample.rows):,} of {sample.total:,} records in {sample.partitions} partitions",
        sample.format if sample.envelope is None else f"{sample.format} of {sample.envelope}",
        source.columns.placement(),
    ]
    yield f"{kind:<14} {sample.topic}: {'; '.join(filter(None, parts))}"
    for name, origin in source.fields.items():
        yield f"  {name:<12} {origin_text(origin)}"


def _roles(guess: PipelineGuess) -> Iterator[str]:
    known, timing = guess.timing.time, guess.timing
    label_time = f"time of label  {known.name if known else KNOWN_AT}"
    if timing.delay is not None:
        label_time = f"delay          {timing.delay}"
    numbers, words = (
        [role.column.name for role in roles] for roles in (guess.numbers, guess.words)
    )
    yield f"id             {guess.event_id.column.name}: {guess.event_id.reason}"
    yield f"time           {guess.event_time.column.name}: {guess.event_time.reason}"
    yield f"label          {guess.label.column.name}: {guess.label.reason}; {guess.values.reason}"
    yield f"{label_time}: {timing.reason}"
    yield f"features       {', '.join([*numbers, *words]) or 'hour and weekday only'}"
