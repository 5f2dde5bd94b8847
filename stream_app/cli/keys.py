"""`keys`: signing keys of model versions."""

from typing import Annotated

import typer
from rich.table import Table

from stream_app.cli.console import report_console
from stream_app.cli.context import CommandContext
from stream_app.cli.model_operations import open_for_operation
from stream_app.cli.models import ModelContext
from stream_app.cli.options import (
    JsonOption,
    PipelineArgument,
    WhyOption,
    require_reason,
)
from stream_app.model_admin import key_admin
from stream_app.model_store.key_files import KeyInfo, KeyPaths, key_paths, list_keys
from stream_app.model_store.model_registry import reason

app = typer.Typer(no_args_is_help=True)


@app.command("list", epilog="Example: stream-app keys list flights --json")
def list_(pipeline: PipelineArgument, as_json: JsonOption = False) -> None:
    """List the trusted keys of PIPELINE, the signing key, and the revoked ones."""
    context = CommandContext(pipeline, as_json)
    paths = key_paths(context.settings, context.name)
    found = list_keys(paths)
    if found and not as_json:
        _print_table(found)
    else:
        context.write(
            [key._asdict() for key in found],
            f"There is no key in {paths.trusted}: the learner creates the first one.",
        )


@app.command(epilog="Example: stream-app keys create flights --why 'first key'")
def create(pipeline: PipelineArgument, why: WhyOption, as_json: JsonOption = False) -> None:
    """Create the first signing key of PIPELINE, as the learner does unless a file is configured."""
    context, paths = _open(pipeline, why, as_json)
    key = key_admin.create(context.admin, paths, reason(why))
    context.write({"key": key}, f"The signing key is {key}, in {paths.signing}.")


@app.command(epilog="Example: stream-app keys rotate flights --why 'yearly'")
def rotate(pipeline: PipelineArgument, why: WhyOption, as_json: JsonOption = False) -> None:
    """Sign model versions of PIPELINE with a new key; the previous one stays trusted."""
    context, paths = _open(pipeline, why, as_json)
    key = key_admin.rotate(context.admin, paths, reason(why))
    context.write(
        {"key": key},
        f"The signing key is now {key}. The previous one is trusted until you revoke it.",
    )


@app.command(
    epilog="Example: stream-app keys revoke flights 3f2a9c0b1d4e5f60 --why 'its disk was stolen'"
)
def revoke(
    pipeline: PipelineArgument,
    key: Annotated[str, typer.Argument(metavar="KEY", help="A key's id, as `keys list` shows it.")],
    why: WhyOption,
    force: Annotated[
        bool, typer.Option("--force", help="Also if the served version is signed with it.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Revoke a key of PIPELINE: model versions that it has signed are no longer loaded."""
    context, paths = _open(pipeline, why, as_json)
    key_admin.revoke(context.admin, paths, key, reason(why), force=force)
    context.write(
        {"key": key, "revoked": True},
        f"The key {key} is revoked: versions that it has signed are no longer loaded.",
    )


def _open(pipeline: str, why: str, as_json: bool) -> tuple[ModelContext, KeyPaths]:
    require_reason(why)
    context = open_for_operation(pipeline, as_json)
    return context, key_paths(context.settings, context.name)


def _print_table(keys: list[KeyInfo]) -> None:
    table = Table("key", "since", "state", "why", box=None, pad_edge=False)
    for key in keys:
        revoked = key.revoked
        state = "in use" if key.signs else "trusted"
        if revoked is not None:
            state = f"revoked {revoked.get('when', '')} by {revoked.get('who', 'unknown')}"
        table.add_row(key.id, key.since, state, "" if revoked is None else revoked.get("why", ""))
    report_console().print(table)
