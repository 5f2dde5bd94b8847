"""Parking and dropping dead letters, and taking such acts back."""

import time
from collections import Counter
from dataclasses import replace
from typing import Literal

from stream_app.core.route import iso
from stream_app.deadletters.access import open_dead_letters
from stream_app.deadletters.acts import Act, Letters, Spot, count
from stream_app.deadletters.desk import Decision, Desk, ledger_output, log_act
from stream_app.deadletters.ledger import Ledger, progress_record
from stream_app.deadletters.planning import act_id
from stream_app.deadletters.refusing import in_words, nothing_open
from stream_app.deadletters.runs import Runs
from stream_app.deadletters.selection import Selection
from stream_app.deadletters.sender import refuse_if_alive, replay_writer
from stream_app.errors import FencedError, SelectionError
from stream_app.identity import operator
from stream_app.pipeline import Pipeline
from stream_app.settings import Settings

Closing = Literal["park", "drop"]


def close_letters(
    settings: Settings, pipeline: Pipeline, kind: Closing, selection: Selection, why: str, *, act: bool
) -> tuple[Act, Counter[str]]:
    """Park or drop the open letters that are selected; returns the act, and the others by their state.

    Unless `act`, nothing is written. Raises SelectionError if none is open, FencedError if somebody else acts too.
    """
    desk, what = Desk(settings, pipeline.name), in_words(selection)
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
        letters = {spot: Runs.of(offsets) for spot, offsets in found.items()}
        total, now = count(letters), int(time.time() * 1000)
        decision = Act(act_id(ledger, kind, letters), kind, now, operator(), what, why, total)
        made.append((decision, letters, {"letters": total}))
        return made[-1:]

    if act:
        desk.decide(make)
    else:
        make(desk.ledger())
    return made[-1][0], states


def restore(desk: Desk, act_id_: str, why: str, *, act: bool) -> tuple[Act, int]:
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
        now, total = int(time.time() * 1000), count(opened)
        taken = Act(f"{undone.id}-{now}", "restore", now, operator(), undone.what, why, total, undoes=undone.id)
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


def _restorable(ledger: Ledger, identity: str) -> Act:
    found = ledger.acts.get(identity)
    if found is None or found.kind == "restore":
        raise SelectionError(f"There is no act {identity}", "See `stream-app dead-letters status PIPELINE`")
    if not count(_opened(ledger, found)):
        left = "all of it is sent" if found.kind == "replay" else "it has been taken back"
        raise SelectionError(
            f"Nothing of the {found.kind} {identity} of {iso(found.at)} can be restored: {left}", "None"
        )
    return found


def _opened(ledger: Ledger, undone: Act) -> Letters:
    """The letters that are open once this act is taken back, and are not now."""
    held = ledger.held(undone)
    if undone.kind != "replay":
        return held
    if not ledger.unfinished(undone):
        return {}
    progress = ledger.progress.get(undone.id)
    return {spot: runs.after(progress.next_of(spot) if progress else 0) for spot, runs in held.items()}
