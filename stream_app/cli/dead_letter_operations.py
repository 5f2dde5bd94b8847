"""`dead-letters replay`, `park`, `drop`, `restore` and `status`: operations and their status."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Annotated

import typer

from stream_app.cli.context import CommandContext
from stream_app.cli.dead_letter_options import (
    OperationOptions,
    ReplayOptions,
    SelectionOptions,
)
from stream_app.cli.options import JsonOption, PipelineArgument, expand_options
from stream_app.core.scoring.replay_headers import REPLAY_ID_FORM
from stream_app.dead_letters import operations
from stream_app.dead_letters.dead_letter_admin import DeadLetterAdmin
from stream_app.dead_letters.replay import PreparedReplay, Replay
from stream_app.dead_letters.replay_outcomes import ReplayResult
from stream_app.dead_letters.replay_plan import ReplayPlan, ReplayRequest
from stream_app.dead_letters.replay_producer import SendLimits
from stream_app.dead_letters.replay_records import INGEST_TOPIC, load_optional_edit
from stream_app.errors import SelectionError
from stream_app.formatting import counted, iso_time
from stream_app.transfer.progress import report_progress
from stream_app.transfer.record_rendering import sanitize_for_terminal

# Characters of an edited record in the text of a plan.
_MAX_CHARACTERS = 300

app = typer.Typer()


@app.command(
    epilog="Example: stream-app dead-letters replay flights --group 5f0c --yes --why 'schema fixed'"
)
@expand_options
def replay(
    pipeline: PipelineArgument,
    chosen: SelectionOptions,
    replaying: ReplayOptions,
    options: OperationOptions,
) -> None:
    """Send dead letters of PIPELINE again, each once; the same command resumes a replay."""
    _check_replay_id(replaying.replay_id)
    context, selection = CommandContext(pipeline, options.as_json), chosen.selection()
    loaded, edit = context.pipeline, load_optional_edit(replaying.edit)
    request = ReplayRequest(
        selection.describe(),
        edit.digest,
        replaying.to,
        replaying.learn,
        replaying.model,
        replaying.max_replays,
    )
    context.log_operations()
    work = Replay(context.settings, loaded, request, edit.function)
    prepared = work.prepare(selection, replaying.replay_id)
    if not options.as_json:
        typer.echo("\n".join(_prepared_lines(prepared, replaying.to)))
    if prepared.plan is not None:
        prepared.plan.check(replaying.max_failure_rate, force=replaying.force)
    document = {"done": options.yes, "plan": prepared.as_dict()}
    if not options.yes:
        context.write(document, "Nothing is sent yet: add --yes and --why to send them.")
        return
    operation = prepared.operation or work.decide(prepared, options.reason, replaying.replay_id)
    if operation is None:
        context.write(document, "No dead letter is left to send.")
        return
    limits = SendLimits(replaying.rate, replaying.max_failure_rate)
    with report_progress(f"replay {operation.id}", operation.dead_letters) as progress:
        result = work.send(
            operation, limits, lambda sent, failed: progress.update(sent, sent - failed)
        )
    document["outcome"] = result._asdict()
    context.write(document, f"Replay {operation.id}: {_result_text(result)}.")


@app.command(
    epilog="Example: stream-app dead-letters park flights --group 5f0c --yes --why 'ask the shop'"
)
@expand_options
def park(pipeline: PipelineArgument, chosen: SelectionOptions, options: OperationOptions) -> None:
    """Set open dead letters of PIPELINE aside: they are not open until they are restored."""
    _close(pipeline, operations.ClosingRequest("park", chosen.selection(), options.reason), options)


@app.command(
    epilog="Example: stream-app dead-letters drop flights --code empty-value --yes --why noise"
)
@expand_options
def drop(pipeline: PipelineArgument, chosen: SelectionOptions, options: OperationOptions) -> None:
    """Discard open dead letters of PIPELINE; they can be restored until retention deletes them."""
    _close(pipeline, operations.ClosingRequest("drop", chosen.selection(), options.reason), options)


@app.command(
    epilog="Example: stream-app dead-letters restore flights 1a2b3c4d5e --yes --why mistake"
)
@expand_options
def restore(
    pipeline: PipelineArgument,
    operation: Annotated[
        str,
        typer.Argument(metavar="OPERATION", help="Id of a park, a drop or an unfinished replay."),
    ],
    options: OperationOptions,
) -> None:
    """Revert an operation on dead letters of PIPELINE: those not sent are open again."""
    context = CommandContext(pipeline, options.as_json).log_operations()
    admin = DeadLetterAdmin(context.settings, context.name)
    reverted, count = operations.restore(admin, operation, options.reason, write=options.yes)
    verb = "are" if options.yes else "would be"
    context.write(
        {
            "id": reverted.id,
            "operation": reverted.kind,
            "dead_letters": count,
            "done": options.yes,
        },
        f"{count:,} dead letters of the {reverted.kind} {reverted.id} {verb} open again.",
    )


@app.command(epilog="Example: stream-app dead-letters status flights --json")
def status(
    pipeline: PipelineArgument,
    operation: Annotated[
        str | None,
        typer.Argument(metavar="OPERATION", help="Id of the operation [default: all]."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the operations on dead letters of PIPELINE, and the outcomes of replayed ones."""
    context = CommandContext(pipeline, as_json)
    found = operations.operation_statuses(
        DeadLetterAdmin(context.settings, context.name), operation
    )
    lines = [line for one in found for line in _status_lines(one)]
    context.write(
        [one.as_dict() for one in found],
        *(lines or ["There are no operations on dead letters yet."]),
    )


def _check_replay_id(replay_id: str | None) -> None:
    if replay_id is not None and not re.fullmatch(REPLAY_ID_FORM, replay_id):
        raise SelectionError(
            f"{replay_id} cannot be the name of a replay",
            "Use at most 40 lowercase letters, digits and hyphens",
        )


def _close(pipeline: str, request: operations.ClosingRequest, options: OperationOptions) -> None:
    context = CommandContext(pipeline, options.as_json)
    loaded = context.pipeline
    context.log_operations()
    operation, not_open = operations.close_dead_letters(
        context.settings, loaded, request, write=options.yes
    )
    verb = "are" if options.yes else "would be"
    closed = {"park": "parked", "drop": "dropped"}[request.kind]
    others = _not_open_text(not_open)
    undo = f"stream-app dead-letters restore {pipeline} {operation.id} --yes --why REASON"
    context.write(
        {
            "id": operation.id,
            "operation": operation.kind,
            "dead_letters": operation.dead_letters,
            "not_open": dict(not_open),
            "done": options.yes,
        },
        f"{operation.dead_letters:,} dead letters {verb} {closed}{others}.",
        f"To revert it: {undo}" if options.yes else "Nothing is written yet: add --yes and --why.",
    )


def _not_open_text(not_open: Counter[str]) -> str:
    if not not_open:
        return ""
    return "; " + ", ".join(f"{count:,} are {state}" for state, count in not_open.items())


def _prepared_lines(prepared: PreparedReplay, to: str) -> Iterator[str]:
    if prepared.plan is not None:
        yield from _plan_lines(prepared.plan, to)
    elif prepared.operation is not None:
        operation = prepared.operation
        yield f"Resuming replay {operation.id} ({operation.dead_letters:,} dead letters)."


def _plan_lines(plan: ReplayPlan, to: str) -> Iterator[str]:
    topic = "the topic for replays" if to == "replay" else "their topics of origin"
    if INGEST_TOPIC in plan.topics:
        topic += "; what ingest wrote, through ingest"
    not_open = _not_open_text(plan.not_open)
    yield f"{plan.send_count:,} open dead letters would be sent to {topic}{not_open}."
    for count, outcome in (
        (plan.park_count, "have been replayed too often and would be parked"),
        (plan.skipped, "are skipped by the edit function"),
        (
            plan.value_not_stored,
            "have no stored value, too large or unreadable: send them from their source",
        ),
        (plan.too_large, "are too large for their topic"),
        (plan.edit_failures.total(), "make the edit function fail"),
        (plan.poison, "crashed or hung a worker and are not run here"),
        (plan.left_out["filtered"], "of them would be filtered by their source"),
        (plan.left_out["tombstone"], "of them would be tombstones of their source"),
    ):
        if count:
            yield f"  {count:,} {outcome}"
    passing = plan.send_count - plan.failing.total() - plan.poison - plan.left_out.total()
    yield f"{passing:,} of them pass the current pipeline."
    for code, count in plan.failing.most_common():
        sample = plan.samples[code]
        yield (
            f"  {count:,} would fail again with {code}: {sanitize_for_terminal(sample.message)} "
            f"(e.g. {sample.ref.error_id})"
        )
    if plan.first_edit is not None:
        for word, value in zip(("before", "after"), plan.first_edit, strict=True):
            text = (value or b"").decode("utf-8", "replace")[:_MAX_CHARACTERS]
            yield f"  {word}: {sanitize_for_terminal(text)}"


def _result_text(result: ReplayResult) -> str:
    codes = ", ".join(f"{code} {count:,}" for code, count in sorted(result.failed.items()))
    return (
        f"{result.sent:,} sent, {result.passed:,} passed (scored or joined), "
        f"{sum(result.failed.values()):,} failed again{f' ({codes})' if codes else ''}, "
        f"{counted(result.duplicates, 'duplicate')}"
        f"{f', {result.expired:,} known only after the horizon' if result.expired else ''}"
        f"{f', {result.waiting:,} wait for their event' if result.waiting else ''}"
        f"{f', {result.filtered:,} filtered' if result.filtered else ''}"
        f"{f', {result.tombstones:,} tombstones' if result.tombstones else ''}"
        f"{f', {result.retrying:,} wait for another attempt' if result.retrying else ''}"
        f"{f', {result.pending:,} without an outcome yet' if result.pending else ''}"
    )


def _status_lines(one: operations.OperationStatus) -> Iterator[str]:
    operation = one.operation
    yield (
        f"{operation.id}  {operation.kind} {one.state}  {iso_time(operation.at)[:19]}Z  "
        f"{operation.who}: {operation.what}; {operation.why}"
    )
    result = f": {_result_text(one.result)}" if one.result is not None else ""
    yield f"  {operation.dead_letters:,} dead letters{result}"
