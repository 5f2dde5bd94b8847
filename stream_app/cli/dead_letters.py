"""`dead-letters groups`, `list`, `show`, `export` and `try`: commands that change nothing."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from stream_app.cli.context import CommandContext
from stream_app.cli.dead_letter_options import EditOption, SelectionOptions
from stream_app.cli.options import JsonOption, PipelineArgument, continued_in, expand_options
from stream_app.cli.transfer import write_lines
from stream_app.clock import now_ms
from stream_app.dead_letters.access import DeadLetters, open_dead_letters
from stream_app.dead_letters.dead_letter_rendering import (
    dead_letter_json,
    dead_letter_lines,
    entry_json,
    entry_line,
    export_dead_letters,
    group_lines,
    group_object,
)
from stream_app.dead_letters.dead_letter_selection import DeadLetterSelection
from stream_app.dead_letters.groups import find_groups
from stream_app.errors import SelectionError
from stream_app.transfer.progress import report_progress

# Entries that `list` shows by default as text.
_DEFAULT_LIMIT = 100

# Lines per write.
_BATCH_LINES = 500

AllOption = Annotated[
    bool, typer.Option("--all", help="Include those that were replayed, parked or dropped.")
]

app = typer.Typer(cls=continued_in("stream_app.cli.dead_letter_operations"), no_args_is_help=True)


@app.command(epilog="Example: stream-app dead-letters groups flights --since 2h")
@expand_options
def groups(
    pipeline: PipelineArgument,
    chosen: SelectionOptions,
    include_closed: AllOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show the dead letters of PIPELINE by cause, with the number of open ones."""
    context, selection, now = CommandContext(pipeline, as_json), chosen.selection(), now_ms()
    with _open(context) as dead_letters:
        if selection != DeadLetterSelection():
            _require_some(dead_letters, selection)
        found = find_groups(dead_letters.index, selection, dead_letters.ledger, now)
    shown = [group for group in found if include_closed or not group.is_closed]
    lines = ["\n".join([*group_lines(group, now), ""]) for group in shown]
    closed = len(found) - len(shown)
    more = f"; --all shows {closed:,} more groups without open ones" if closed else ""
    lines.append(f"{sum(group.open for group in found):,} open dead letters{more}")
    context.write([group_object(group) for group in shown], *lines)


@app.command("list", epilog="Example: stream-app dead-letters list flights --group 5f0c --json")
@expand_options
def list_dead_letters(
    pipeline: PipelineArgument,
    chosen: SelectionOptions,
    limit: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Show at most N [default: 100; all with --json]."),
    ] = None,
    include_closed: AllOption = False,
    as_json: JsonOption = False,
) -> None:
    """List dead letters of PIPELINE, one per line, newest first."""
    context, selection = CommandContext(pipeline, as_json), chosen.selection()
    line = entry_json if as_json else entry_line
    most = limit or (None if as_json else _DEFAULT_LIMIT)
    with _open(context) as dead_letters:
        _require_some(dead_letters, selection)
        states = (
            (entry, dead_letters.ledger.state(entry.ref))
            for entry in dead_letters.index.entries(selection)
        )
        wanted = ((entry, state) for entry, state in states if include_closed or state == "open")
        write_lines(_batches(line(entry, state) for entry, state in islice(wanted, most)))
        if most is not None and next(wanted, None) is not None:
            typer.echo(
                f"Only the newest {most:,} are listed; --limit and --json list more.", err=True
            )


@app.command(epilog="Example: stream-app dead-letters show flights --id 27a17dc9")
@expand_options
def show(
    pipeline: PipelineArgument,
    chosen: SelectionOptions,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="Show the newest N.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Show dead letters of PIPELINE in full: failure, headers, decoded value and bytes."""
    context, selection = CommandContext(pipeline, as_json), chosen.selection()
    with _open(context) as dead_letters:
        count = _require_some(dead_letters, selection)
        refs = (entry.ref for entry in dead_letters.index.entries(selection, limit))
        write_lines(
            [dead_letter_json(one)] if as_json else [*dead_letter_lines(one), b""]
            for one in dead_letters.reader.read(refs)
        )
        if count > limit and not as_json:
            typer.echo(
                f"The newest {limit:,} of {count:,} are shown; --limit shows more.", err=True
            )


@app.command(
    epilog="Example: stream-app dead-letters export flights --code invalid-json --to failed.jsonl"
)
@expand_options
def export(
    pipeline: PipelineArgument,
    to: Annotated[Path, typer.Option(metavar="FILE", help="A new file.")],
    chosen: SelectionOptions,
    raw: Annotated[
        bool,
        typer.Option(
            "--raw", help="Only the values, separated by line breaks, for `stream-app try`."
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Write dead letters of PIPELINE to FILE: JSON lines with key, value and headers in base64."""
    context, selection = CommandContext(pipeline, as_json), chosen.selection()
    with _open(context) as dead_letters:
        total = _require_some(dead_letters, selection)
        found = dead_letters.reader.read(dead_letters.index.select(selection))
        with report_progress("exporting dead letters", total) as progress:
            count = export_dead_letters(found, to, progress, raw=raw)
    context.write({"file": str(to), "dead_letters": count}, f"{to}: {count:,} dead letters")


@app.command(
    "try", epilog="Example: stream-app dead-letters try flights --group 5f0c --edit fix.py:edit"
)
@expand_options
def try_dead_letters(
    pipeline: PipelineArgument,
    chosen: SelectionOptions,
    edit: EditOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run PIPELINE over its open dead letters and count those that would pass; sends nothing."""
    # They import River, which the other commands do not need.
    from stream_app.dead_letters.dry_run import Preview, open_evaluator
    from stream_app.dead_letters.replay_records import RecordEditor, load_optional_edit

    context, selection = CommandContext(pipeline, as_json), chosen.selection()
    function = load_optional_edit(edit).function
    with _open(context) as dead_letters:
        total = _require_some(dead_letters, selection)
        evaluator, model = open_evaluator(context.settings, context.pipeline)
        preview = Preview(evaluator, RecordEditor(context.pipeline, function))
        ledger = dead_letters.ledger
        refs = (ref for ref in dead_letters.index.select(selection) if ledger.state(ref) == "open")
        with report_progress("trying dead letters", total) as progress:
            for number, dead_letter in enumerate(dead_letters.reader.read(refs), start=1):
                preview.add(dead_letter)
                progress.update(number, number)
    result = preview.result
    context.write({"model": model, **result.as_dict()}, *result.lines(model))


@contextmanager
def _open(context: CommandContext) -> Iterator[DeadLetters]:
    def notify(line: str) -> None:
        typer.echo(line, err=True)

    with open_dead_letters(context.settings, context.declaration, notify) as dead_letters:
        yield dead_letters


def _require_some(dead_letters: DeadLetters, selection: DeadLetterSelection) -> int:
    """Return the number of selected dead letters; raises `SelectionError` if there is none."""
    count = dead_letters.index.count(selection)
    if count == 0:
        raise SelectionError(
            "No dead letter is selected",
            "List the groups with `stream-app dead-letters groups PIPELINE --all`",
        )
    return count


def _batches(lines: Iterable[bytes]) -> Iterator[list[bytes]]:
    remaining = iter(lines)
    while batch := list(islice(remaining, _BATCH_LINES)):
        yield batch
