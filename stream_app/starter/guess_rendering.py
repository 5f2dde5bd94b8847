"""Guesses as lines of a report, each with its reason."""

from collections.abc import Iterator

from stream_app.starter.generated_schemas import KNOWN_AT
from stream_app.starter.pipeline_guess import PipelineGuess


def guess_lines(guess: PipelineGuess) -> Iterator[str]:
    """Yield the guesses about a table, one a line, with their reasons."""
    yield from _roles(guess)
    yield f"order          {guess.order}"
    for role in guess.left_out:
        yield f"left out       {role.column.name}: {role.reason}"


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
