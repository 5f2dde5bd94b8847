"""`learning`: pauses of learning and of sources, exclusions of wrong labels, status."""

from typing import Annotated

import typer

from stream_app.cli.model_operations import open_for_operation
from stream_app.cli.models import ModelContext
from stream_app.cli.options import (
    JsonOption,
    PipelineArgument,
    RelearnOption,
    WhyOption,
    require_reason,
)
from stream_app.core.learning.learning_rules import Exclusion
from stream_app.formatting import iso_time
from stream_app.model_admin import learning_decisions as decisions
from stream_app.model_admin.learning_status import learning_status
from stream_app.model_store.manifest import Manifest
from stream_app.model_store.model_registry import reason
from stream_app.transfer.consume import parse_since

app = typer.Typer(no_args_is_help=True)

SourceOption = Annotated[
    str | None,
    typer.Option(metavar="SOURCE", help="Only labels of this source [default: all labels]."),
]
_SpanArgument = Annotated[
    str,
    typer.Argument(
        metavar="FROM..TO",
        help="Label times: ISO 8601 (UTC unless it has an offset), or 36h for 36 hours ago.",
    ),
]


@app.command("pause", epilog="Example: stream-app learning pause flights --why 'wrong labels'")
def pause_learning(
    pipeline: PipelineArgument,
    why: WhyOption,
    source: SourceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Pause learning of PIPELINE, or only from one source of labels, until it is resumed.

    Scoring continues, and examples are evaluated.
    """
    context = _operation(pipeline, why, as_json)
    _check_declared(context, source)
    decisions.pause(context.admin, reason(why), source)
    context.write({"paused": True, "source": source}, f"Learning{_of(source)} is paused.")


@app.command(
    "resume",
    epilog="Example: stream-app learning resume flights --why 'labels corrected' --since 120000",
)
def resume_learning(
    pipeline: PipelineArgument,
    why: WhyOption,
    source: SourceOption = None,
    since: RelearnOption = None,
    as_json: JsonOption = False,
) -> None:
    """Resume learning of PIPELINE, with --since also of the examples skipped from that offset.

    With --source, only the pause of that source ends.
    """
    context = _operation(pipeline, why, as_json)
    decisions.resume(context.admin, reason(why), since, source)
    context.write({"paused": False, "source": source}, f"Learning{_of(source)} is resumed.")


@app.command(
    "exclude",
    epilog="Example: stream-app learning exclude flights 2026-03-01T06:00..2026-03-01T18:00 "
    "--why 'inverted'",
)
def exclude_labels(
    pipeline: PipelineArgument,
    span: _SpanArgument,
    why: WhyOption,
    source: SourceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Do not learn the examples of PIPELINE whose label time is in a span, now and in relearning.

    They are evaluated. What was learned already stays learned until a rollback.
    """
    start, end = _parsed_span(span)
    context = _operation(pipeline, why, as_json)
    _check_declared(context, source)
    exclusion, before = decisions.exclude(context.admin, start, end, reason(why), source)
    version = None if before is None else before.version
    context.write(
        {**_span_object(exclusion), "version_before": version},
        f"Exclusion {exclusion.number}: {decisions.span_text(exclusion)} are not learned.",
        _advice(context, before),
    )


@app.command("include", epilog="Example: stream-app learning include flights 1 --why 'mistaken'")
def include_labels(
    pipeline: PipelineArgument,
    number: Annotated[
        int, typer.Argument(metavar="NUMBER", help="Number of the exclusion, as in the status.")
    ],
    why: WhyOption,
    as_json: JsonOption = False,
) -> None:
    """Withdraw an exclusion of PIPELINE; later examples are learned."""
    context = _operation(pipeline, why, as_json)
    exclusion = decisions.include(context.admin, number, reason(why))
    context.write(
        _span_object(exclusion),
        f"Exclusion {number} is withdrawn: {decisions.span_text(exclusion)} are learned from now "
        "on. A rollback with --since also learns those that were left out.",
    )


@app.command("status", epilog="Example: stream-app learning status flights --json")
def show_learning(pipeline: PipelineArgument, as_json: JsonOption = False) -> None:
    """Show what of PIPELINE is paused or excluded, by whom and why, and the learner's progress."""
    context = ModelContext(pipeline, as_json)
    found = learning_status(context.admin)
    context.write(found.as_object(), *found.lines())


def _operation(pipeline: str, why: str, as_json: bool) -> ModelContext:
    """Return the context of a command that decides, and logs that to standard error."""
    require_reason(why)
    return open_for_operation(pipeline, as_json)


def _check_declared(context: ModelContext, source: str | None) -> None:
    """Raise a usage error for a source that the pipeline does not declare."""
    declared = [one.source_name for one in context.declaration.label.sources]
    if source is not None and source not in declared:
        known = ", ".join(declared) or "none"
        raise typer.BadParameter(
            f"{context.name} has no source of labels {source!r}; it has: {known}",
            param_hint="--source",
        )


def _parsed_span(text: str) -> tuple[int, int]:
    """Return start and end of a span in Unix milliseconds.

    >>> _parsed_span("1970-01-01..1970-01-01T00:00:01")
    (0, 1000)
    """
    first, separator, last = text.partition("..")
    start, end = parse_since(first), parse_since(last)
    if not separator or start is None or end is None:
        raise typer.BadParameter(
            f"{text!r} is no span of time: give 2026-03-01T06:00..2026-03-01T18:00, or 36h..24h",
            param_hint="FROM..TO",
        )
    if start >= end:
        raise typer.BadParameter("FROM must be before TO", param_hint="FROM..TO")
    return start, end


def _span_object(exclusion: Exclusion) -> dict[str, object]:
    start, end = iso_time(exclusion.start), iso_time(exclusion.end)
    return {**exclusion._asdict(), "start": start, "end": end}


def _advice(context: ModelContext, before: Manifest | None) -> str:
    """Return how to remove what was learned of an excluded span."""
    if before is None:
        return "No version from before the span is left: what was learned of it stays learned."
    if before.version == context.registry.served:
        return "The served version has learned no label of the span."
    return (
        "To remove what was learned of it: `stream-app models rollback "
        f"{context.name} --to {before.version} --since {before.version} --why TEXT`"
    )


def _of(source: str | None) -> str:
    return "" if source is None else f" from {source}"
