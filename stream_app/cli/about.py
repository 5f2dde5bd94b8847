"""`version`, and `errors`: meaning and remedy of error codes and exit codes."""

from dataclasses import asdict
from difflib import get_close_matches
from typing import Annotated, Any

import typer
from rich.table import Table

from stream_app.cli.console import report_console
from stream_app.cli.exit_codes import exit_codes
from stream_app.cli.options import JsonOption, print_json
from stream_app.compiled_core import core_state
from stream_app.error_codes import ERROR_CODES, WHO_ACTS, ErrorClass, ErrorCode
from stream_app.telemetry.metrics import app_version

app = typer.Typer()


ClassOption = Annotated[
    ErrorClass | None,
    typer.Option(
        "--class", metavar="CLASS", help=f"Only codes of a class: {', '.join(ErrorClass)}."
    ),
]


@app.command(epilog="Example: stream-app version")
def version() -> None:
    """Show the installed version, and if its core is compiled."""
    typer.echo(app_version())
    typer.echo(f"core: {core_state()}")


@app.command(epilog="Example: stream-app errors features-failed")
def errors(
    code: Annotated[
        str | None,
        typer.Argument(
            metavar="CODE", help="Error code of a dead letter, or exit code of a command."
        ),
    ] = None,
    error_class: ClassOption = None,
    exits: Annotated[
        bool, typer.Option("--exit-codes", help="List the exit codes of commands instead.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List the error codes of records, or explain CODE: meaning, stage, who acts, what to do."""
    if exits and error_class is not None:
        raise typer.BadParameter("it cannot be combined with --exit-codes", param_hint="--class")
    if code is not None and (exits or error_class is not None):
        raise typer.BadParameter(
            "a code is explained by itself, without --class or --exit-codes", param_hint="CODE"
        )
    if code is not None:
        _explain(code, as_json)
    elif exits:
        _list_exit_codes(as_json)
    else:
        _list(
            [one for one in ERROR_CODES.values() if error_class in (None, one.error_class)], as_json
        )


def _list(found: list[ErrorCode], as_json: bool) -> None:
    if as_json:
        print_json([_as_json(one) for one in found])
        return
    table = _table("code", "class", "stage", "meaning")
    for one in found:
        table.add_row(one.code, one.error_class, one.stage, one.meaning)
    report_console().print(table)


def _list_exit_codes(as_json: bool) -> None:
    if as_json:
        print_json([{"exit_code": number, "meaning": meaning} for number, meaning in exit_codes()])
        return
    table = _table("exit code", "meaning")
    for number, meaning in exit_codes():
        table.add_row(str(number), meaning)
    report_console().print(table)


def _explain(code: str, as_json: bool) -> None:
    meanings = {str(number): meaning for number, meaning in exit_codes()}
    if code in meanings:
        found: dict[str, Any] = {"exit_code": int(code), "meaning": meanings[code]}
    elif code in ERROR_CODES:
        found = _as_json(ERROR_CODES[code])
    else:
        raise typer.BadParameter(_unknown(code), param_hint="CODE")
    if as_json:
        print_json(found)
        return
    table = _table("", "")
    table.show_header = False
    for name, text in found.items():
        table.add_row(name.replace("_", " "), str(text))
    report_console().print(table)


def _as_json(one: ErrorCode) -> dict[str, Any]:
    fields = asdict(one)
    return {
        "code": one.code,
        "class": fields["error_class"],
        "stage": fields["stage"],
        "meaning": one.meaning,
        "who_acts": WHO_ACTS[one.error_class],
        "remedy": one.remedy,
    }


def _unknown(code: str) -> str:
    close = get_close_matches(code, ERROR_CODES, cutoff=0.5)
    near = f"did you mean {' or '.join(close)}?" if close else "`stream-app errors` lists them all"
    return f"there is no code {code!r}; {near}"


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in columns:
        table.add_column(
            column, no_wrap=column in ("code", "class", "stage", "exit code"), overflow="fold"
        )
    return table
