"""`models rollback`, `promote`, `pin`, `unpin`, `gc`: what is decided about model versions."""

import time
from typing import Annotated, NamedTuple

import typer

from stream_app.cli.options import JsonOption, PipelineArgument, print_json
from stream_app.loading import load_pipeline
from stream_app.model_admin import decisions
from stream_app.model_admin.decisions import Switch, reason, refuse_served, switch
from stream_app.model_admin.garbage_collection import collect, find_garbage
from stream_app.model_admin.model_admin import ModelAdmin
from stream_app.model_admin.version_checks import (
    AWAY,
    Checker,
    ReplayedExamples,
    newest_examples,
    replay,
)
from stream_app.model_store.artifacts import pipeline_store
from stream_app.model_store.manifest import Manifest
from stream_app.model_store.model_registry import ModelRegistry
from stream_app.pipeline import Pipeline
from stream_app.settings import Settings, load_settings
from stream_app.telemetry.logs import setup_logging
from stream_app.transfer.send_progress import reporter

app = typer.Typer()


WhyOption = Annotated[str, typer.Option(metavar="TEXT", help="The reason, for the audit.")]
SinceOption = Annotated[
    int | None,
    typer.Option(
        metavar="OFFSET", min=0, help="Learn the examples again from this offset of the log on."
    ),
]
_VersionArgument = Annotated[int, typer.Argument(metavar="VERSION", help="A version's number.")]


@app.command(
    epilog="Example: stream-app models rollback flights --why 'labels were wrong since noon' --hold"
)
def rollback(
    pipeline: PipelineArgument,
    why: WhyOption,
    to: Annotated[
        int | None,
        typer.Option(
            metavar="VERSION",
            help="Serve this one [default: the one before the served one, if it loads].",
        ),
    ] = None,
    since: SinceOption = None,
    hold: Annotated[
        bool, typer.Option("--hold", help="Learn nothing until `learning resume`.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Also if the artifact store is away for a check.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Serve an earlier model version of PIPELINE at once, and go on learning from that one."""
    check_why(why)
    work = _open(pipeline)
    try:
        manifest = (
            work.checker().before(work.registry) if to is None else work.registry.manifest(to)
        )
        refuse_served(work.registry, manifest.version)
        if to is not None:
            work.checker().load(manifest)
    except AWAY:
        if not force:
            raise
        manifest = _unchecked(work, to)
    _switch(work, "rollback", manifest, why, since=since, hold=hold, as_json=as_json)


@app.command(
    epilog="Example: stream-app models promote flights 1201 --why 'better in the laboratory' --yes"
)
def promote(
    pipeline: PipelineArgument,
    version: _VersionArgument,
    why: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="The reason, for the audit; needed with --yes."),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do it; without, only say how it fares.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Serve a model version of PIPELINE, after it has scored the newest examples again without failing."""
    if yes:
        check_why(why)
    work = _open(pipeline)
    manifest = work.registry.manifest(version)
    refuse_served(work.registry, version)
    checker = work.checker()
    found = replay(
        checker.load(manifest), newest_examples(work.desk, checker.fingerprint, checker.task)
    )
    if not as_json:
        typer.echo(_replayed(found))
    if yes:
        _switch(work, "promote", manifest, why or "", replayed=found, as_json=as_json)
    elif as_json:
        print_json({"done": False, "version": version, "replay": found._asdict()})
    else:
        typer.echo("Nothing is done yet: add --yes and --why.")


@app.command(epilog="Example: stream-app models pin flights 1200 --why 'reference of the season'")
def pin(
    pipeline: PipelineArgument,
    version: _VersionArgument,
    why: WhyOption,
    as_json: JsonOption = False,
) -> None:
    """Keep a model version of PIPELINE whatever its age."""
    check_why(why)
    decisions.pin(_open(pipeline).desk, version, decisions.reason(why))
    _say({"version": version, "pinned": True}, f"Version {version} is pinned.", as_json)


@app.command(epilog="Example: stream-app models unpin flights 1200 --why 'the season is over'")
def unpin(
    pipeline: PipelineArgument,
    version: _VersionArgument,
    why: WhyOption,
    as_json: JsonOption = False,
) -> None:
    """Let a model version of PIPELINE go when its time comes."""
    check_why(why)
    decisions.unpin(_open(pipeline).desk, version, decisions.reason(why))
    _say(
        {"version": version, "pinned": False}, f"Version {version} is not pinned any more.", as_json
    )


@app.command(epilog="Example: stream-app models gc flights --yes")
def gc(
    pipeline: PipelineArgument,
    grace: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", min=0, help="Leave alone what was stored within this time."
        ),
    ] = 3600.0,
    why: Annotated[
        str, typer.Option(metavar="TEXT", help="The reason, for the audit.")
    ] = "nothing names them",
    yes: Annotated[
        bool, typer.Option("--yes", help="Delete them; without, only say what that would be.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Delete artifacts of PIPELINE that no version and no checkpoint names, as crashes leave them behind."""
    check_why(why)
    work = _open(pipeline)
    store = pipeline_store(work.settings, work.desk.name)
    found = find_garbage(work.desk, store, grace, time.time())
    if yes and found.artifacts:
        with reporter("collecting artifacts", len(found.artifacts)) as progress:
            found = collect(work.desk, store, grace, reason(why), progress.update)
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
    _say({"done": yes, **counts}, line, as_json)


def check_why(why: str | None) -> None:
    """A reason is more than blanks."""
    if not (why and why.strip()):
        raise typer.BadParameter(
            "say why, for the audit, e.g. --why 'labels were wrong'", param_hint="--why"
        )


class Work(NamedTuple):
    """A pipeline about which somebody decides."""

    settings: Settings
    pipeline: Pipeline
    desk: ModelAdmin
    registry: ModelRegistry

    def checker(self) -> Checker:
        """What loads its versions."""
        return Checker(self.settings, self.pipeline)


def _open(pipeline: str) -> Work:
    """The registry as it is now; every decision is a line of the log, on standard error."""
    settings = load_settings()
    setup_logging(settings.log, role="operator")
    loaded = load_pipeline(pipeline)
    desk = ModelAdmin(settings, loaded.name)
    return Work(settings, loaded, desk, desk.registry())


def _unchecked(work: Work, to: int | None) -> Manifest:
    if to is not None:
        return work.registry.manifest(to)
    return work.checker().before(work.registry, load=False)


def _switch(
    work: Work,
    act: Switch,
    manifest: Manifest,
    why: str,
    *,
    since: int | None = None,
    hold: bool = False,
    replayed: ReplayedExamples | None = None,
    as_json: bool,
) -> None:
    epoch = switch(work.desk, work.registry, act, manifest, reason(why), since=since, hold=hold)
    before = work.registry.served
    found: dict[str, object] = {
        "done": True,
        "act": act,
        "before": before,
        "after": manifest.version,
        "epoch": epoch,
        "held": hold,
    }
    if replayed is not None:
        found["replay"] = replayed._asdict()
    line = f"Version {manifest.version} is served now, instead of {'none' if before is None else before}."
    if hold:
        line += f" Learning is held: go on with `stream-app learning resume {work.desk.name}`."
    _say(found, line, as_json)


def _replayed(found: ReplayedExamples) -> str:
    if found.loss is None or found.served_loss is None:
        return f"Version {found.version} loads; there are no examples of this pipeline yet to score again."
    return (
        f"Version {found.version} scores the newest {found.n:,} examples with a mean loss of {found.loss:.4f}; the "
        f"scores that were served have {found.served_loss:.4f}. It may have learned some of them."
    )


def _say(found: dict[str, object], line: str, as_json: bool) -> None:
    if as_json:
        print_json(found)
    else:
        typer.echo(line)
