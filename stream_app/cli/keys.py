"""`keys`: what model versions are signed with, and whose signatures count."""

from typing import Annotated

import typer
from rich.table import Table

from stream_app.cli.model_operations import WhyOption, check_why
from stream_app.cli.options import JsonOption, PipelineArgument, print_json, report_console
from stream_app.loading import load_pipeline
from stream_app.model_admin import decisions, key_admin
from stream_app.model_admin.model_admin import ModelAdmin
from stream_app.model_store.key_files import KeyInfo, KeyPaths, key_paths, list_keys
from stream_app.settings import load_settings
from stream_app.telemetry.logs import setup_logging

app = typer.Typer(
    help="Signing keys of model versions: list, create, rotate, revoke.", no_args_is_help=True
)


@app.command("list", epilog="Example: stream-app keys list flights --json")
def list_(pipeline: PipelineArgument, as_json: JsonOption = False) -> None:
    """Show the keys whose signatures count for PIPELINE, the one in use, and the revoked."""
    places = _places(pipeline)
    found = list_keys(places)
    if as_json:
        print_json([fact._asdict() for fact in found])
    elif found:
        _show(found)
    else:
        typer.echo(f"There is no key in {places.trusted}: the learner makes the first one.")


@app.command(epilog="Example: stream-app keys create flights --why 'first key, in the vault'")
def create(pipeline: PipelineArgument, why: WhyOption, as_json: JsonOption = False) -> None:
    """Make the first signing key of PIPELINE; without, the learner does where no file is named."""
    check_why(why)
    places, desk = _open(pipeline)
    key = key_admin.create(desk, places, decisions.reason(why))
    _say({"key": key}, f"The signing key is {key}, in {places.signing}.", as_json)


@app.command(epilog="Example: stream-app keys rotate flights --why 'yearly'")
def rotate(pipeline: PipelineArgument, why: WhyOption, as_json: JsonOption = False) -> None:
    """Sign model versions of PIPELINE with a new key; what the one before has signed stays trusted."""
    check_why(why)
    places, desk = _open(pipeline)
    key = key_admin.rotate(desk, places, decisions.reason(why))
    _say(
        {"key": key},
        f"The signing key is {key} now. The one before is trusted until you revoke it.",
        as_json,
    )


@app.command(
    epilog="Example: stream-app keys revoke flights 3f2a9c0b1d4e5f60 --why 'its disk was stolen'"
)
def revoke(
    pipeline: PipelineArgument,
    key: Annotated[str, typer.Argument(metavar="KEY", help="A key's id, as `keys list` shows it.")],
    why: WhyOption,
    force: Annotated[
        bool, typer.Option("--force", help="Also while what is served is signed with it.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Load nothing of PIPELINE any more that this key has signed."""
    check_why(why)
    places, desk = _open(pipeline)
    key_admin.revoke(desk, places, key, decisions.reason(why), force=force)
    _say(
        {"key": key, "revoked": True},
        f"The key {key} is revoked: what it has signed is not loaded.",
        as_json,
    )


def _show(found: list[KeyInfo]) -> None:
    table = Table("key", "since", "state", "why", box=None, pad_edge=False)
    for fact in found:
        revoked = fact.revoked
        state = "in use" if fact.signs else "trusted"
        if revoked is not None:
            state = f"revoked {revoked.get('when', '')} by {revoked.get('who', 'somebody')}"
        table.add_row(fact.id, fact.since, state, "" if revoked is None else revoked.get("why", ""))
    report_console().print(table)


def _places(pipeline: str) -> KeyPaths:
    return key_paths(load_settings(), load_pipeline(pipeline).name)


def _open(pipeline: str) -> tuple[KeyPaths, ModelAdmin]:
    """The cluster must be there: every act on keys is audited."""
    settings = load_settings()
    setup_logging(settings.log, role="operator")
    places = _places(pipeline)
    return places, ModelAdmin(settings, places.pipeline)


def _say(found: dict[str, object], line: str, as_json: bool) -> None:
    print_json(found) if as_json else typer.echo(line)
