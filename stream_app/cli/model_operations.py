"""`models verify`, `rollback`, `promote`, `pin`, `unpin` and `gc`."""

import time
from functools import cached_property
from typing import Annotated

import typer

from stream_app.cli.models import ModelContext, OptionalVersion
from stream_app.cli.options import (
    JsonOption,
    PipelineArgument,
    RelearnOption,
    WhyOption,
    print_json,
    require_reason,
)
from stream_app.errors import VerificationError
from stream_app.kafka.clients import client_config
from stream_app.kafka.retrying_reader import RetryingReader
from stream_app.kafka.topic_uses import group_name
from stream_app.model_admin import decisions
from stream_app.model_admin.model_admin import collect, find_garbage
from stream_app.model_admin.verification import Verifier
from stream_app.model_admin.version_checks import (
    STORE_ERRORS,
    VersionEvaluation,
    VersionLoader,
    evaluate_version,
    newest_examples,
)
from stream_app.model_store.artifacts import pipeline_store
from stream_app.model_store.manifest import Manifest
from stream_app.model_store.model_registry import reason
from stream_app.transfer.progress import report_progress

app = typer.Typer()

_VersionArgument = Annotated[int, typer.Argument(metavar="VERSION", help="A version's number.")]


class VersionContext(ModelContext):
    """Context of a command that loads model versions."""

    @cached_property
    def loader(self) -> VersionLoader:
        """Loads versions of the pipeline."""
        return VersionLoader(self.settings, self.pipeline)


def open_for_operation(pipeline: str, as_json: bool) -> VersionContext:
    """Return the context of a command whose operation is logged to standard error."""
    context = VersionContext(pipeline, as_json)
    context.log_operations()
    return context


@app.command(epilog="Example: stream-app models verify flights 1200")
def verify(
    pipeline: PipelineArgument,
    version: OptionalVersion = None,
    as_json: JsonOption = False,
) -> None:
    """Relearn a model version of PIPELINE from the log, and compare it bit for bit.

    Ends with exit code 12 if it differs.
    """
    context = VersionContext(pipeline, as_json)
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


@app.command(epilog="Example: stream-app models rollback flights --why 'labels were wrong' --pause")
def rollback(
    pipeline: PipelineArgument,
    why: WhyOption,
    to: Annotated[
        int | None,
        typer.Option(
            metavar="VERSION",
            help="Version to serve [default: the one before the served one that loads].",
        ),
    ] = None,
    since: RelearnOption = None,
    pause: Annotated[
        bool, typer.Option("--pause", help="Learn nothing until `learning resume`.")
    ] = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="Skip the check that it loads if the store is unavailable."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Serve an earlier model version of PIPELINE at once, and continue learning from it."""
    require_reason(why)
    context = open_for_operation(pipeline, as_json)
    registry = context.registry
    try:
        manifest = context.loader.previous(registry) if to is None else registry.manifest(to)
        decisions.check_not_served(registry, manifest.version)
        if to is not None:
            context.loader.load(manifest)
    except STORE_ERRORS:
        if not force:
            raise
        manifest = (
            context.loader.previous(registry, load=False) if to is None else registry.manifest(to)
        )
    _change_version(context, "rollback", manifest, why, since=since, pause=pause)


@app.command(
    epilog="Example: stream-app models promote flights 1201 --why 'lower offline loss' --yes"
)
def promote(
    pipeline: PipelineArgument,
    version: _VersionArgument,
    why: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Reason, for the audit; required with --yes."),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Promote it; without, only evaluate it.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Serve a model version of PIPELINE, after evaluating it on the newest examples."""
    if yes:
        require_reason(why)
    context = open_for_operation(pipeline, as_json)
    manifest = context.registry.manifest(version)
    decisions.check_not_served(context.registry, version)
    loader = context.loader
    model = loader.load(manifest)
    found = evaluate_version(model, newest_examples(context.admin, loader.fingerprint, loader.task))
    if not as_json:
        typer.echo(_evaluation_text(found))
    if yes:
        _change_version(context, "promote", manifest, why or "", evaluation=found)
    else:
        context.write(
            {"done": False, "version": version, "evaluation": found._asdict()},
            "Nothing is done yet: add --yes and --why.",
        )


@app.command(epilog="Example: stream-app models pin flights 1200 --why 'reference of 2026'")
def pin(
    pipeline: PipelineArgument,
    version: _VersionArgument,
    why: WhyOption,
    as_json: JsonOption = False,
) -> None:
    """Keep a model version of PIPELINE whatever its age."""
    require_reason(why)
    context = open_for_operation(pipeline, as_json)
    decisions.pin(context.admin, version, reason(why))
    context.write({"version": version, "pinned": True}, f"Version {version} is pinned.")


@app.command(epilog="Example: stream-app models unpin flights 1200 --why 'outdated'")
def unpin(
    pipeline: PipelineArgument,
    version: _VersionArgument,
    why: WhyOption,
    as_json: JsonOption = False,
) -> None:
    """Delete a model version of PIPELINE when it is old, as if it had not been pinned."""
    require_reason(why)
    context = open_for_operation(pipeline, as_json)
    decisions.unpin(context.admin, version, reason(why))
    context.write({"version": version, "pinned": False}, f"Version {version} is no longer pinned.")


@app.command(epilog="Example: stream-app models gc flights --yes")
def gc(
    pipeline: PipelineArgument,
    grace: Annotated[
        float,
        typer.Option(metavar="SECONDS", min=0, help="Keep artifacts stored within this time."),
    ] = 3600.0,
    why: Annotated[
        str, typer.Option(metavar="TEXT", help="Reason, for the audit.")
    ] = "nothing names them",
    yes: Annotated[
        bool, typer.Option("--yes", help="Delete them; without, only count them.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Delete artifacts of PIPELINE that no version or checkpoint names, as left by crashes."""
    require_reason(why)
    context = open_for_operation(pipeline, as_json)
    admin = context.admin
    store = pipeline_store(context.settings, context.name)
    found = find_garbage(admin, store, grace, time.time())
    if yes and found.artifacts:
        with report_progress("collecting artifacts", len(found.artifacts)) as progress:
            found = collect(admin, store, grace, reason(why), progress.update)
    counts = {
        "artifacts": len(found.artifacts),
        "bytes": found.size,
        "young": found.young,
        "total": found.total,
    }
    line = f"{len(found.artifacts):,} of {found.total:,} artifacts ({found.size:,} bytes) "
    line += "are deleted." if yes else "would be deleted. Nothing is done yet: add --yes."
    if found.young:
        line += f" {found.young:,} more that nothing names are younger than {grace:,.0f} s."
    context.write({"done": yes, **counts}, line)


def _change_version(
    context: ModelContext,
    command: decisions.VersionChange,
    manifest: Manifest,
    why: str,
    *,
    since: int | None = None,
    pause: bool = False,
    evaluation: VersionEvaluation | None = None,
) -> None:
    registry = context.registry
    decision = decisions.change_version(
        context.admin, registry, command, manifest, reason(why), since=since, pause=pause
    )
    found: dict[str, object] = {
        "done": True,
        "operation": command,
        "before": registry.served,
        "after": manifest.version,
        "decision": decision,
        "paused": pause,
    }
    if evaluation is not None:
        found["evaluation"] = evaluation._asdict()
    before = "none" if registry.served is None else registry.served
    line = f"Version {manifest.version} is served now, instead of {before}."
    if pause:
        line += f" Learning is paused: resume it with `stream-app learning resume {context.name}`."
    context.write(found, line)


def _evaluation_text(found: VersionEvaluation) -> str:
    if found.loss is None or found.served_loss is None:
        return f"Version {found.version} loads; there are no examples of this pipeline to score."
    return (
        f"Version {found.version} scores the newest {found.n:,} examples with a mean loss of "
        f"{found.loss:.4f}; the served scores have {found.served_loss:.4f}. "
        "The version may have learned some of these examples."
    )
