"""Parking and dropping dead letters, and taking such acts back."""

from collections import Counter
from dataclasses import replace
from typing import Literal

from stream_app.clock import now_ms
from stream_app.dead_letters.access import open_dead_letters
from stream_app.dead_letters.dead_letter_admin import (
    DeadLetterAdmin,
    Decision,
    ledger_output,
    log_act,
)
from stream_app.dead_letters.dead_letter_selection import DeadLetterSelection
from stream_app.dead_letters.ledger import Ledger, progress_record
from stream_app.dead_letters.offset_ranges import OffsetRanges
from stream_app.dead_letters.operations import Letters, Operation, Spot, count
from stream_app.dead_letters.preconditions import in_words, nothing_open
from stream_app.dead_letters.replay_plan import act_id
from stream_app.dead_letters.replay_producer import refuse_if_alive, replay_writer
from stream_app.errors import FencedError, SelectionError
from stream_app.formatting import iso_time
from stream_app.pipeline import Pipeline
from stream_app.settings import Settings
from stream_app.telemetry.operator_identity import operator

Closing = Literal["park", "drop"]


def close_letters(
    settings: Settings,
    pipeline: Pipeline,
    kind: Closing,
    selection: DeadLetterSelection,
    why: str,
    *,
    act: bool,
) -> tuple[Operation, Counter[str]]:
    """Park or drop the open letters that are selected; returns the act, and the others by their state.

    Unless `act`, nothing is written. Raises SelectionError if none is open, FencedError if somebody else acts too.
    """
    desk, what = DeadLetterAdmin(settings, pipeline.name), in_words(selection)
    with open_dead_letters(settings, pipeline) as dead:
        refs = list(dead.index.select(selection))
    states: Counter[str] = Counter()
    made: list[Decision] = []

    def make(ledger: Ledger) -> list[Decision]:
        found: dict[Spot, list[int]] = {}
        states.clear()
        for ref in refs:
            state = ledger.state(ref)
            if state == "open":
                found.setdefault((ref.kind, ref.partition), []).append(ref.offset)
            else:
                states[state] += 1
        if not found:
            raise nothing_open(what, states)
        letters = {spot: OffsetRanges.of(offsets) for spot, offsets in found.items()}
        total, now = count(letters), now_ms()
        decision = Operation(act_id(ledger, kind, letters), kind, now, operator(), what, why, total)
        made.append((decision, letters, {"letters": total}))
        return made[-1:]

    if act:
        desk.decide(make)
    else:
        make(desk.ledger())
    return made[-1][0], states


def restore(desk: DeadLetterAdmin, act_id_: str, why: str, *, act: bool) -> tuple[Operation, int]:
    """Take an act back: its letters are open again, of a replay those that it has not sent.

    Returns the act that was taken back and how many letters that opens. Raises SelectionError if there is no such act,
    or nothing is left of it, FencedError if somebody is sending it.
    """
    ledger = desk.ledger()
    undone = _restorable(ledger, act_id_)
    if undone.kind == "replay":
        refuse_if_alive(undone, ledger.progress.get(undone.id))
    if not act:
        return undone, count(_opened(ledger, undone))
    try:
        writer = desk.writer(replay_writer(desk.name, undone.id))  # which fences whoever sends it
        ledger = desk.ledger(settled=True)
        opened = _opened(ledger, _restorable(ledger, act_id_))
        now, total = now_ms(), count(opened)
        taken = Operation(
            f"{undone.id}-{now}",
            "restore",
            now,
            operator(),
            undone.what,
            why,
            total,
            undoes=undone.id,
        )
        audits = desk.write_acts(writer, [(taken, {}, {"letters": total})])
        progress = ledger.progress.get(undone.id)
        if progress is not None and progress.state == "sending":
            stopped = replace(progress, state="stopped", at=now)
            writer.write([ledger_output(progress_record(undone.id, stopped))])
        writer.commit({}, None)
    except FencedError:
        raise FencedError(
            f"Somebody else acts on {undone.id} in the same moment", "Look again, and repeat it"
        ) from None
    for audit in audits:
        log_act(audit)
    return undone, total


def _restorable(ledger: Ledger, identity: str) -> Operation:
    found = ledger.acts.get(identity)
    if found is None or found.kind == "restore":
        raise SelectionError(
            f"There is no act {identity}", "See `stream-app dead-letters status PIPELINE`"
        )
    if not count(_opened(ledger, found)):
        left = "all of it is sent" if found.kind == "replay" else "it has been taken back"
        raise SelectionError(
            f"Nothing of the {found.kind} {identity} of {iso_time(found.at)} can be restored: {left}",
            "None",
        )
    return found


def _opened(ledger: Ledger, undone: Operation) -> Letters:
    """The letters that are open once this act is taken back, and are not now."""
    held = ledger.held(undone)
    if undone.kind != "replay":
        return held
    if not ledger.unfinished(undone):
        return {}
    progress = ledger.progress.get(undone.id)
    return {
        spot: runs.after(progress.next_of(spot) if progress else 0) for spot, runs in held.items()
    }
