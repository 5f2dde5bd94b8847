"""`dead-letters replay`, `park`, `drop`, `restore`, `status`: what is done about dead letters."""

from collections import Counter
from typing import Annotated, Literal

import typer

from stream_app.cli.dead_letter_options import selects
from stream_app.cli.options import JsonOption, PipelineArgument, print_json
from stream_app.dead_letters import operations
from stream_app.dead_letters.dead_letter_admin import DeadLetterAdmin
from stream_app.dead_letters.dead_letter_selection import DeadLetterSelection
from stream_app.dead_letters.operations import OperationStatus, act_statuses, close_letters
from stream_app.dead_letters.preconditions import check_name, in_words, refuse
from stream_app.dead_letters.replay import Replay, load_mending
from stream_app.dead_letters.replay_outcomes import SentRecord
from stream_app.dead_letters.replay_plan import ReplayPlan, ReplayRequest
from stream_app.dead_letters.replay_producer import SendRate
from stream_app.formatting import iso_time
from stream_app.loading import load_pipeline
from stream_app.settings import Settings, load_settings
from stream_app.telemetry.logs import setup_logging
from stream_app.transfer.record_rendering import harmless
from stream_app.transfer.send_progress import reporter

app = typer.Typer()


WhyOption = Annotated[
    str | None, typer.Option(metavar="TEXT", help="The reason, for the audit; needed with --yes.")
]
YesOption = Annotated[
    bool, typer.Option("--yes", help="Do it; without, only say what would be done.")
]
_SHOWN = 300  # characters of an edited record


@app.command(
    epilog="Example: stream-app dead-letters replay flights --group 5f0c --yes --why 'schema mended'"
)
@selects
def replay(
    pipeline: PipelineArgument,
    selection: DeadLetterSelection,
    edit: Annotated[
        str | None,
        typer.Option(metavar="FILE:FUNCTION", help="Your function that mends each letter first."),
    ] = None,
    to: Annotated[
        Literal["replay", "source"],
        typer.Option(help="The topic for replays, or the one that they came from."),
    ] = "replay",
    learn: Annotated[bool, typer.Option(help="Whether the model learns from these events.")] = True,
    model: Annotated[
        int | None,
        typer.Option(
            metavar="VERSION", help="Score them with this version [default: the served one]."
        ),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(metavar="N", min=0.1, help="Records a second, at most [default: as scored]."),
    ] = None,
    relapse: Annotated[
        float,
        typer.Option(
            min=0.0, max=1.0, help="Share that may fail again; beyond it the replay stops."
        ),
    ] = 0.2,
    most: Annotated[
        int, typer.Option(min=1, help="A letter that was sent so often is parked instead.")
    ] = 3,
    force: Annotated[
        bool, typer.Option("--force", help="Send them although they would fail again.")
    ] = False,
    replay_id: Annotated[
        str | None,
        typer.Option(
            "--replay-id", metavar="NAME", help="Name the replay, or go on with the one so named."
        ),
    ] = None,
    why: WhyOption = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Send dead letters of PIPELINE again, each once; repeat the command to go on after an interruption."""
    _check_why(yes, why)
    check_name(replay_id)
    loaded, mending = load_pipeline(pipeline), load_mending(edit)
    wish = ReplayRequest(in_words(selection), mending.digest, to, learn, model, most)
    work = Replay(_logged_settings(), loaded, wish, mending.edit)
    prepared = work.prepare(selection, replay_id)
    if prepared.plan is not None and not as_json:
        _show_plan(prepared.plan, to)
    elif prepared.act is not None and not as_json:
        typer.echo(
            f"Replay {prepared.act.id} of {prepared.act.letters:,} dead letters is to be gone on with."
        )
    if prepared.plan is not None:
        refuse(prepared.plan, relapse, force=force)
    if not yes:
        if as_json:
            print_json({"done": False, "plan": prepared.as_dict()})
        else:
            typer.echo("Nothing is sent yet: add --yes and --why to send them.")
        return
    act = prepared.act or work.decide(prepared, why or "", replay_id)
    if act is None:
        print_json({"done": True, "plan": prepared.as_dict()}) if as_json else typer.echo(
            "Nothing was to be sent."
        )
        return
    with reporter(f"replay {act.id}", act.letters) as progress:
        sent = work.send(
            act, SendRate(rate, relapse), lambda done, failed: progress.update(done, done - failed)
        )
    if as_json:
        print_json({"done": True, "plan": prepared.as_dict(), "outcome": sent._asdict()})
    else:
        typer.echo(f"Replay {act.id}: {_outcome(sent)}.")


@app.command(
    epilog="Example: stream-app dead-letters park flights --group 5f0c --yes --why 'ask the shop'"
)
@selects
def park(
    pipeline: PipelineArgument,
    selection: DeadLetterSelection,
    why: WhyOption = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Put open dead letters of PIPELINE aside: they count as dealt with until they are restored."""
    _close(pipeline, selection, "park", why, yes, as_json)


@app.command(
    epilog="Example: stream-app dead-letters drop flights --code empty-value --yes --why noise"
)
@selects
def drop(
    pipeline: PipelineArgument,
    selection: DeadLetterSelection,
    why: WhyOption = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Give open dead letters of PIPELINE up; until retention deletes them they can be restored."""
    _close(pipeline, selection, "drop", why, yes, as_json)


@app.command(
    epilog="Example: stream-app dead-letters restore flights 1a2b3c4d5e --yes --why mistake"
)
def restore(
    pipeline: PipelineArgument,
    act: Annotated[
        str, typer.Argument(metavar="ACT", help="The id of a park, a drop or an unfinished replay.")
    ],
    why: WhyOption = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Open again what an act on dead letters of PIPELINE has closed; what was sent stays sent."""
    _check_why(yes, why)
    desk = DeadLetterAdmin(_logged_settings(), load_pipeline(pipeline).name)
    undone, letters = operations.restore(desk, act, why or "", act=yes)
    if as_json:
        print_json({"id": undone.id, "act": undone.kind, "letters": letters, "done": yes})
    else:
        typer.echo(
            f"{letters:,} dead letters of the {undone.kind} {undone.id} {'are' if yes else 'would be'} open again."
        )


@app.command(epilog="Example: stream-app dead-letters status flights --json")
def status(
    pipeline: PipelineArgument,
    act: Annotated[
        str | None, typer.Argument(metavar="ACT", help="Only this one [default: all].")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what has been done about dead letters of PIPELINE, and what became of those that were sent again."""
    found = act_statuses(DeadLetterAdmin(load_settings(), load_pipeline(pipeline).name), act)
    if as_json:
        print_json([one.as_dict() for one in found])
    elif not found:
        typer.echo("Nothing has been done about dead letters yet.")
    for one in found if not as_json else ():
        _show_act(one)


def _logged_settings() -> Settings:
    """The settings; every act is a line of the log, on standard error."""
    settings = load_settings()
    setup_logging(settings.log, role="operator")
    return settings


def _check_why(yes: bool, why: str | None) -> None:
    if yes and not (why and why.strip()):
        raise typer.BadParameter(
            "say why, for the audit, e.g. --why 'schema mended'", param_hint="--why"
        )


def _close(
    pipeline: str,
    selection: DeadLetterSelection,
    kind: Literal["park", "drop"],
    why: str | None,
    yes: bool,
    as_json: bool,
) -> None:
    _check_why(yes, why)
    act, others = close_letters(
        _logged_settings(), load_pipeline(pipeline), kind, selection, why or "", act=yes
    )
    if as_json:
        print_json(
            {"id": act.id, "act": kind, "letters": act.letters, "others": dict(others), "done": yes}
        )
        return
    done = {"park": "parked", "drop": "dropped"}[kind]
    typer.echo(
        f"{act.letters:,} dead letters {'are' if yes else 'would be'} {done}{_others(others)}."
    )
    if yes:
        typer.echo(
            f"Take it back: stream-app dead-letters restore {pipeline} {act.id} --yes --why REASON"
        )
    else:
        typer.echo("Nothing is done yet: add --yes and --why.")


def _others(states: Counter[str]) -> str:
    return (
        "; " + ", ".join(f"{number:,} {state}" for state, number in states.items())
        if states
        else ""
    )


def _show_plan(plan: ReplayPlan, to: str) -> None:
    topic = "the topic for replays" if to == "replay" else "the topics that they came from"
    typer.echo(
        f"{plan.sending:,} open dead letters would be sent to {topic}{_others(plan.states)}."
    )
    for number, what in (
        (sum(map(len, plan.park.values())), "have been sent too often and would be parked"),
        (plan.left_out, "are left out by the edit"),
        (plan.not_kept, "were too large to be kept: send them again from their source"),
        (plan.too_large, "are too large for their topic"),
        (plan.edit_failures.total(), "make the edit fail"),
        (plan.unchecked, "have harmed a worker and are not run here"),
    ):
        if number:
            typer.echo(f"  {number:,} {what}")
    typer.echo(
        f"{plan.sending - plan.failing.total() - plan.unchecked:,} of them pass the pipeline as it is now."
    )
    for code, number in plan.failing.most_common():
        sample = plan.sample[code]
        typer.echo(
            f"  {number:,} would fail again with {code}: {harmless(sample.message)} (e.g. {sample.ref.error_id})"
        )
    if plan.edited is not None:
        for word, value in zip(("before", "after"), plan.edited, strict=True):
            typer.echo(f"  {word}: {harmless((value or b'').decode('utf-8', 'replace')[:_SHOWN])}")


def _outcome(sent: SentRecord) -> str:
    failed = ", ".join(f"{code} {number:,}" for code, number in sorted(sent.failed.items()))
    return (
        f"{sent.sent:,} sent, {sent.passed:,} passed, {sum(sent.failed.values()):,} failed again"
        f"{f' ({failed})' if failed else ''}, {sent.duplicates:,} duplicates"
        f"{f', {sent.retrying:,} are tried again' if sent.retrying else ''}"
        f"{f', {sent.pending:,} without an outcome yet' if sent.pending else ''}"
    )


def _show_act(one: OperationStatus) -> None:
    act = one.act
    typer.echo(
        f"{act.id}  {act.kind} {one.state}  {iso_time(act.at)[:19]}Z  {act.who}: {act.what}; {act.why}"
    )
    outcome = f": {_outcome(one.sent)}" if one.sent is not None else ""
    typer.echo(f"  {act.letters:,} dead letters{outcome}")
