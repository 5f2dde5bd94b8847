"""`models`: commands that read model versions; those that write are in `model_operations`."""

from itertools import islice
from typing import Annotated

import typer

from stream_app.cli import model_operations
from stream_app.cli.model_operations import ModelContext
from stream_app.cli.options import JsonOption, PipelineArgument, print_json, report_console
from stream_app.errors import VerificationError
from stream_app.kafka.clients import client_config
from stream_app.kafka.retrying_reader import RetryingReader
from stream_app.kafka.topic_uses import group_name
from stream_app.model_admin.model_rendering import (
    audit_lines,
    diff_text,
    registry_object,
    version_lines,
    version_object,
    version_table,
)
from stream_app.model_admin.verification import Verifier
from stream_app.model_admin.version_diff import compare
from stream_app.model_store.model_registry import ModelRegistry
from stream_app.transfer.progress import report_progress

LimitOption = Annotated[
    int, typer.Option(metavar="N", min=1, help="The newest N; with --json all are listed.")
]
OptionalVersion = Annotated[
    int | None, typer.Argument(metavar="VERSION", help="[default: the served one]")
]

# Metrics that are columns of the list.
_LISTED_METRICS = 3

app = typer.Typer(no_args_is_help=True)


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
    problem = context.loader.problem(manifest)
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


@app.command(epilog="Example: stream-app models verify flights 1200")
def verify(
    pipeline: PipelineArgument,
    version: OptionalVersion = None,
    as_json: JsonOption = False,
) -> None:
    """Relearn a model version of PIPELINE from the log, and compare it bit for bit.

    Ends with exit code 12 if it differs.
    """
    context = ModelContext(pipeline, as_json)
    registry = context.registry
    chosen = registry.current.version if version is None else version
    reader = RetryingReader(client_config(context.settings), group_name(context.name, "learn"))
    verifier = Verifier(context.pipeline, reader, registry, context.loader)
    with report_progress("relearning", chosen) as progress:
        result = verifier.verify(chosen, progress.update)
    if as_json:
        print_json({"reproduced": result.reproduced, **result._asdict()})
    if not result.reproduced:
        raise VerificationError(
            result.summary(),
            "Check that the model is deterministic (seeds; `stream_app.transformers.Pick`), "
            "and which programs may write to the log",
        )
    if not as_json:
        typer.echo(result.summary())


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
    if registry.unreadable:
        parts.append(f"records that cannot be read: {', '.join(registry.unreadable)}")
    return "; ".join(parts) + "."


app.add_typer(model_operations.app)
