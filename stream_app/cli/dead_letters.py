"""`dead-letters`: look into what failed, and try it; the commands that act on it are in `dead_letters_acts`."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from stream_app.cli import dead_letter_operations
from stream_app.cli.transfer import write_lines
from stream_app.cli.dead_letter_options import selects
from stream_app.cli.options import JsonOption, PipelineArgument, print_json
from stream_app.clock import now_ms
from stream_app.dead_letters.access import DeadLetters, open_dead_letters
from stream_app.dead_letters.dead_letter_export import export_letters
from stream_app.dead_letters.dead_letter_rendering import (
    entry_json,
    entry_line,
    group_lines,
    group_object,
    letter_json,
    letter_lines,
    place,
)
from stream_app.dead_letters.dead_letter_selection import DeadLetterSelection
from stream_app.dead_letters.edits import Editing, load_edit
from stream_app.dead_letters.groups import find_groups
from stream_app.dead_letters.preview import Preview, PreviewResult
from stream_app.dead_letters.record_evaluator import present
from stream_app.errors import SelectionError
from stream_app.loading import load_pipeline
from stream_app.pipeline import Pipeline
from stream_app.settings import Settings, load_settings
from stream_app.transfer.record_rendering import harmless
from stream_app.transfer.send_progress import reporter

_LISTED = 100  # for people
_BATCH = 500  # lines

AllOption = Annotated[
    bool, typer.Option("--all", help="Also those that were replayed, parked or dropped.")
]

app = typer.Typer(help="Dead letters: inspect, try, replay.", no_args_is_help=True)


@app.command(epilog="Example: stream-app dead-letters groups flights --since 2h")
@selects
def groups(
    pipeline: PipelineArgument,
    selection: DeadLetterSelection,
    every: AllOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show the dead letters of PIPELINE by their cause, with the number that nobody has dealt with."""
    now = now_ms()
    with _opened(pipeline) as (_, _, dead):
        if selection != DeadLetterSelection():
            _require_some(dead, selection)
        found = find_groups(dead.index, selection, dead.ledger, now)
    shown = [group for group in found if every or not group.closed]
    if as_json:
        print_json([group_object(group) for group in shown])
        return
    for group in shown:
        typer.echo("\n".join([*group_lines(group, now), ""]))
    closed = len(found) - len(shown)
    more = f"; {closed:,} groups are dealt with, and --all shows them" if closed else ""
    typer.echo(f"{sum(group.open for group in found):,} open dead letters{more}")


@app.command("list", epilog="Example: stream-app dead-letters list flights --group 5f0c --json")
@selects
def list_letters(
    pipeline: PipelineArgument,
    selection: DeadLetterSelection,
    limit: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="At most so many [default: 100; with --json all]."),
    ] = None,
    every: AllOption = False,
    as_json: JsonOption = False,
) -> None:
    """List dead letters of PIPELINE, one per line, the newest first."""
    line = entry_json if as_json else entry_line
    most = limit or (None if as_json else _LISTED)
    with _opened(pipeline) as (_, _, dead):
        _require_some(dead, selection)
        states = ((entry, dead.ledger.state(entry.ref)) for entry in dead.index.entries(selection))
        wanted = ((entry, state) for entry, state in states if every or state == "open")
        write_lines(_batches(line(entry, state) for entry, state in islice(wanted, most)))
        if most is not None and next(wanted, None) is not None:
            typer.echo(
                f"There are more than these {most:,}; --limit and --json show them.", err=True
            )


@app.command(epilog="Example: stream-app dead-letters show flights --id 27a17dc9")
@selects
def show(
    pipeline: PipelineArgument,
    selection: DeadLetterSelection,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="Show the newest N.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Show dead letters of PIPELINE whole: what failed and where, the value decoded and as it is, all headers."""
    with _opened(pipeline) as (_, _, dead):
        chosen = _require_some(dead, selection)
        letters = dead.letters.read(entry.ref for entry in dead.index.entries(selection, limit))
        write_lines([letter_json(one)] if as_json else [*letter_lines(one), b""] for one in letters)
        if chosen > limit and not as_json:
            typer.echo(f"The newest {limit:,} of {chosen:,}; --limit shows more.", err=True)


@app.command(
    epilog="Example: stream-app dead-letters export flights --code invalid-json --to failed.jsonl"
)
@selects
def export(
    pipeline: PipelineArgument,
    to: Annotated[Path, typer.Option(metavar="FILE", help="A new file.")],
    selection: DeadLetterSelection,
    raw: Annotated[
        bool,
        typer.Option(
            "--raw", help="Only the values, with a line break between them, for `stream-app try`."
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Write dead letters of PIPELINE to FILE: JSON lines with key, value and headers in base64."""
    with _opened(pipeline) as (_, _, dead):
        chosen = _require_some(dead, selection)
        with reporter("exporting dead letters", chosen) as progress:
            count = export_letters(
                dead.letters.read(dead.index.select(selection)), to, progress, raw=raw
            )
    if as_json:
        print_json({"file": str(to), "dead_letters": count})
    else:
        typer.echo(f"{to}: {count:,} dead letters")


@app.command(
    "try", epilog="Example: stream-app dead-letters try flights --group 5f0c --edit mend.py:edit"
)
@selects
def try_letters(
    pipeline: PipelineArgument,
    selection: DeadLetterSelection,
    edit: Annotated[
        str | None,
        typer.Option(metavar="FILE:FUNCTION", help="Your function that mends each letter first."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run PIPELINE as it is now over its dead letters, and tell how many would pass; sends nothing."""
    function = load_edit(edit) if edit is not None else None
    with _opened(pipeline) as (settings, loaded, dead):
        chosen = _require_some(dead, selection)
        judge, model = present(settings, loaded)
        trial = Preview(judge, Editing(loaded, function))
        refs = (ref for ref in dead.index.select(selection) if dead.ledger.state(ref) == "open")
        with reporter("trying dead letters", chosen) as progress:
            for number, letter in enumerate(dead.letters.read(refs), start=1):
                trial.add(letter)
                progress.update(number, number)
    if as_json:
        print_json({"model": model, **trial.verdict.as_dict()})
    else:
        typer.echo("\n".join(_verdict_lines(trial.verdict, model)))


def _verdict_lines(verdict: PreviewResult, model: str) -> Iterator[str]:
    """What a trial came to, for people; `model` is what it was made with."""
    yield f"{verdict.tried:,} dead letters tried with {model}; nothing was sent"
    for number, what in (
        (verdict.passed, "would pass"),
        (verdict.degraded, "would be scored by the fallback, for the model fails"),
        (verdict.labels, "labels can be read; a worker tells whether their events are known"),
        (verdict.left_out, "are left out by the edit"),
        (verdict.not_kept, "were too large to be kept here: send them again from their source"),
        (
            verdict.harmful,
            "have ended or hung a worker, and are not run here: export one and try it by itself",
        ),
    ):
        if number:
            yield f"{number:>9,} {what}"
    for failing in sorted(verdict.failing, key=lambda failing: -failing.count):
        where = f" ({failing.where})" if failing.where else ""
        yield f"{failing.count:>9,} would fail: {failing.code}: {harmless(failing.message)}{where}"
        yield f"{'':>9} e.g. {failing.sample.error_id} at {place(failing.sample)}. {failing.remedy}"


class _OpenedDeadLetters(NamedTuple):
    settings: Settings
    pipeline: Pipeline
    dead: DeadLetters


@contextmanager
def _opened(pipeline: str) -> Iterator[_OpenedDeadLetters]:
    """A pipeline's dead letters."""
    settings, loaded = load_settings(), load_pipeline(pipeline)
    with open_dead_letters(settings, loaded, lambda line: typer.echo(line, err=True)) as dead:
        yield _OpenedDeadLetters(settings, loaded, dead)


def _require_some(dead: DeadLetters, selection: DeadLetterSelection) -> int:
    """How many are meant; it is an error if none is."""
    count = dead.index.count(selection)
    if count == 0:
        raise SelectionError(
            "No dead letter is selected",
            "See which there are: `stream-app dead-letters groups PIPELINE --all`",
        )
    return count


def _batches(lines: Iterable[bytes]) -> Iterator[list[bytes]]:
    remaining = iter(lines)
    while batch := list(islice(remaining, _BATCH)):
        yield batch


app.add_typer(dead_letter_operations.app)
