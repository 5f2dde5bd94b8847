"""Guesses about topics as lines of a report, each with its reason."""

from collections.abc import Iterator

from stream_app.starter.generated_sources import origin_text
from stream_app.starter.guess_rendering import guess_lines
from stream_app.starter.role_guesses import CHOOSE
from stream_app.starter.topic_guess import SourceGuess, TopicGuess


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
