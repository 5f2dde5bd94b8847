"""`models list`, `show`, `diff` and `audit`; the other commands are in `model_operations`."""

from functools import cached_property
from itertools import islice
from typing import Annotated

import typer

from stream_app.cli.console import report_console
from stream_app.cli.context import CommandContext
from stream_app.cli.options import (
    JsonOption,
    PipelineArgument,
    continued_in,
    print_json,
)
from stream_app.formatting import counted
from stream_app.model_admin.model_admin import ModelAdmin
from stream_app.model_admin.model_rendering import (
    audit_lines,
    diff_text,
    registry_object,
    version_lines,
    version_object,
    version_table,
)
from stream_app.model_admin.version_diff import compare
from stream_app.model_store.model_registry import ModelRegistry

LimitOption = Annotated[
    int, typer.Option(metavar="N", min=1, help="The newest N; with --json all are listed.")
]
OptionalVersion = Annotated[
    int | None, typer.Argument(metavar="VERSION", help="[default: the served one]")
]

# Metrics that are columns of the list.
_LISTED_METRICS = 3

app = typer.Typer(cls=continued_in("stream_app.cli.model_operations"), no_args_is_help=True)


class ModelContext(CommandContext):
    """Context of a command about models: its registry is read once."""

    @cached_property
    def admin(self) -> ModelAdmin:
        """Admin client for the models of the pipeline."""
        return ModelAdmin(self.settings, self.name)

    @cached_property
    def registry(self) -> ModelRegistry:
        """Registry as it was at the first use."""
        return self.admin.registry()


@app.command("list", epilog="Example: stream-app models list flights --limit 5")
def list_versions(
    pipeline: PipelineArgument,
    limit: LimitOption = 20,
    as_json: JsonOption = False,
) -> None:
    """List the model versions of PIPELINE, newest first, with the served one."""
    context = ModelContext(pipeline, as_json)
    registry = context.registry
    if as_json:
        print_json(registry_object(registry))
        return
    newest = list(islice(reversed(registry.versions), limit))
    older = [
        version
        for version in reversed(registry.versions)
        if version not in newest and (version in registry.pins or version == registry.served)
    ]
    metrics = context.declaration.metrics[:_LISTED_METRICS]
    report_console().print(version_table(registry, newest + older, metrics))
    typer.echo(_summary(registry, len(registry.versions) - len(newest) - len(older)))


@app.command(epilog="Example: stream-app models show flights 1200")
def show(
    pipeline: PipelineArgument,
    version: OptionalVersion = None,
    as_json: JsonOption = False,
) -> None:
    """Show the manifest of a model version of PIPELINE, and check that it loads."""
    context = ModelContext(pipeline, as_json)
    registry = context.registry
    manifest = registry.current if version is None else registry.manifest(version)
    # It imports River, which `models list` does not need.
    from stream_app.model_admin.version_checks import VersionLoader

    problem = VersionLoader(context.settings, context.pipeline).problem(manifest)
    if as_json:
        print_json({**version_object(registry, manifest.version), "problem": problem})
        return
    state = "it loads" if problem is None else f"it does not load: {problem}"
    report_console().print(version_lines(registry, manifest, state))


@app.command(epilog="Example: stream-app models diff flights 1200 1430")
def diff(
    pipeline: PipelineArgument,
    a: Annotated[int, typer.Argument(metavar="A", help="A version.")],
    b: Annotated[
        int | None, typer.Argument(metavar="B", help="Another [default: the served one].")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare two model versions of PIPELINE: metrics, features, parameters and profiles."""
    registry = ModelContext(pipeline).registry
    found = compare(registry.manifest(a), registry.current if b is None else registry.manifest(b))
    if as_json:
        print_json(found.as_dict())
    else:
        report_console().print(diff_text(found))


@app.command(epilog="Example: stream-app models audit flights --json")
def audit(
    pipeline: PipelineArgument,
    limit: LimitOption = 50,
    as_json: JsonOption = False,
) -> None:
    """Show the audit of PIPELINE, newest entry last: operations with their author and reason."""
    context = ModelContext(pipeline, as_json)
    entries = context.admin.audit_entries()
    context.write(
        entries, *(audit_lines(entries[-limit:]) if entries else ("The audit is empty.",))
    )


def _summary(registry: ModelRegistry, hidden: int) -> str:
    parts = [f"{len(registry.versions):,} versions"]
    if hidden:
        parts.append(f"{hidden:,} of them not shown (--limit)")
    served = registry.served
    parts.append("none is served" if served is None else f"version {served} is served")
    if served is not None and served not in registry.versions:
        parts[-1] += ", but its manifest is missing"
    if registry.paused and registry.learning is not None:
        parts.append(f"learning is paused since {registry.learning.at[:19]}")
    paused, exclusions, _ = registry.rules
    if paused:
        parts.append(f"learning from {', '.join(paused)} is paused")
    if exclusions:
        parts.append(f"{counted(len(exclusions), 'exclusion')} in force")
    if registry.unreadable:
        parts.append(f"records that cannot be read: {', '.join(registry.unreadable)}")
    return "; ".join(parts) + "."
