"""`models`: look at the versions of a pipeline's model; the commands that decide about them are in `models_acts`."""

from itertools import islice
from typing import Annotated, NamedTuple

import typer

from stream_app.cli import model_operations, model_verify
from stream_app.cli.options import JsonOption, PipelineArgument, print_json, report_console
from stream_app.loading import load_pipeline
from stream_app.model_admin.model_admin import ModelAdmin
from stream_app.model_admin.model_rendering import (
    act_lines,
    difference_lines,
    entry,
    registry_object,
    version_lines,
    version_table,
)
from stream_app.model_admin.version_checks import Checker
from stream_app.model_admin.version_diff import compare
from stream_app.model_store.model_registry import ModelRegistry
from stream_app.pipeline import Pipeline
from stream_app.settings import Settings, load_settings

_METRICS = 3  # that a list has room for

app = typer.Typer(
    help="Model versions: look, compare, verify, roll back, promote, pin, collect.",
    no_args_is_help=True,
)


@app.command("list", epilog="Example: stream-app models list flights --limit 5")
def list_versions(
    pipeline: PipelineArgument,
    limit: Annotated[
        int, typer.Option(metavar="N", min=1, help="The newest N; with --json all are listed.")
    ] = 20,
    as_json: JsonOption = False,
) -> None:
    """List the model versions of PIPELINE, the newest first, and say which one is served."""
    opened = _open(pipeline)
    registry = opened.registry
    if as_json:
        print_json(registry_object(registry))
        return
    shown = list(islice(reversed(registry.versions), limit))
    kept = [
        version
        for version in registry.versions
        if version not in shown and _special(registry, version)
    ]
    report_console().print(
        version_table(registry, shown + kept[::-1], opened.pipeline.metrics[:_METRICS])
    )
    typer.echo(_summary(registry, len(registry.versions) - len(shown) - len(kept)))


@app.command(epilog="Example: stream-app models show flights 1200")
def show(
    pipeline: PipelineArgument,
    version: Annotated[
        int | None, typer.Argument(metavar="VERSION", help="[default: the served one]")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show all that is known of a model version of PIPELINE, and whether it loads."""
    opened = _open(pipeline)
    manifest = opened.registry.current if version is None else opened.registry.manifest(version)
    problem = Checker(opened.settings, opened.pipeline).problem(manifest)
    if as_json:
        print_json({**entry(opened.registry, manifest.version), "problem": problem})
        return
    state = "it loads" if problem is None else f"it does not load: {problem}"
    report_console().print(version_lines(opened.registry, manifest, state))


@app.command(epilog="Example: stream-app models diff flights 1200 1430")
def diff(
    pipeline: PipelineArgument,
    a: Annotated[int, typer.Argument(metavar="A", help="A version.")],
    b: Annotated[
        int | None, typer.Argument(metavar="B", help="Another [default: the served one].")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare two model versions of PIPELINE: manifests, metrics, features, parameters and profiles."""
    registry = _open(pipeline).registry
    difference = compare(
        registry.manifest(a), registry.current if b is None else registry.manifest(b)
    )
    if as_json:
        print_json(difference.as_dict())
    else:
        report_console().print(difference_lines(difference))


@app.command(epilog="Example: stream-app models audit flights --json")
def audit(
    pipeline: PipelineArgument,
    limit: Annotated[
        int, typer.Option(metavar="N", min=1, help="The newest N; with --json all are listed.")
    ] = 50,
    as_json: JsonOption = False,
) -> None:
    """Show what was decided about PIPELINE, by whom and why, the newest last."""
    acts = _open(pipeline).desk.acts()
    if as_json:
        print_json(acts)
        return
    for line in act_lines(acts[-limit:]):
        typer.echo(line)
    if not acts:
        typer.echo("Nothing has been decided yet.")


class _OpenedModels(NamedTuple):
    settings: Settings
    pipeline: Pipeline
    desk: ModelAdmin
    registry: ModelRegistry


def _open(pipeline: str) -> _OpenedModels:
    settings, loaded = load_settings(), load_pipeline(pipeline)
    desk = ModelAdmin(settings, loaded.name)
    return _OpenedModels(settings, loaded, desk, desk.registry())


def _special(registry: ModelRegistry, version: int) -> bool:
    return version in registry.pins or version == registry.served


def _summary(registry: ModelRegistry, more: int) -> str:
    parts = [f"{len(registry.versions):,} versions"]
    if more:
        parts.append(f"{more:,} of them not shown (--limit)")
    parts.append(
        "none is served" if registry.served is None else f"version {registry.served} is served"
    )
    if registry.served is not None and registry.served not in registry.versions:
        parts[-1] += ", but there is no manifest of it"
    if registry.paused and registry.learning is not None:
        parts.append(f"learning is held since {registry.learning.at[:19]}")
    if registry.unreadable:
        parts.append(f"records that cannot be read: {', '.join(registry.unreadable)}")
    return "; ".join(parts) + "."


app.add_typer(model_verify.app)
app.add_typer(model_operations.app)
