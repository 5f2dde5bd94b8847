"""What has been done about the dead letters of a pipeline, and what became of those that were sent again."""

from dataclasses import dataclass
from typing import Any

from stream_app.dead_letters.dead_letter_admin import DeadLetterAdmin
from stream_app.dead_letters.ledger import Ledger
from stream_app.dead_letters.operations import Operation
from stream_app.dead_letters.replay_outcomes import OutcomeWatch, SentRecord, result
from stream_app.dead_letters.replay_rate import ReplayRate
from stream_app.dead_letters.replay_records import REPLAY_TOPICS, SOURCES
from stream_app.errors import SelectionError
from stream_app.formatting import iso_time


@dataclass(frozen=True, slots=True)
class OperationStatus:
    """An act as it stands; `state` is that of a replay, or "done" or "restored"; `sent` is known of replays only."""

    act: Operation
    state: str
    sent: SentRecord | None

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        act = self.act
        shown = {
            "id": act.id,
            "act": act.kind,
            "at": iso_time(act.at),
            "who": act.who,
            "what": act.what,
            "why": act.why,
        }
        options = {name: option for name, option in act.options.items() if name != "since"}
        outcome = (
            None
            if self.sent is None
            else {k: v for k, v in self.sent._asdict().items() if k != "replay"}
        )
        return shown | {
            "letters": act.letters,
            "state": self.state,
            "options": options,
            "outcome": outcome,
        }


def act_statuses(desk: DeadLetterAdmin, identity: str | None = None) -> list[OperationStatus]:
    """Every act, the newest last, or the one of this id (SelectionError if there is none).

    Outcomes of replays are counted anew until all of them are known.
    """
    ledger = desk.ledger()
    acts = [
        act for act in ledger.acts.values() if identity in (None, act.id) and act.kind != "restore"
    ]
    if identity is not None and not acts:
        raise SelectionError(
            f"There is no act {identity}", "See `stream-app dead-letters status PIPELINE`"
        )
    open_ones = [act for act in acts if act.kind == "replay" and not _is_settled(ledger, act)]
    sent = _count(desk, ledger, open_ones) if open_ones else {}
    return [
        OperationStatus(act, _state(ledger, act), sent.get(act.id) or _known(ledger, act))
        for act in acts
    ]


def _is_settled(ledger: Ledger, act: Operation) -> bool:
    progress = ledger.progress.get(act.id)
    if progress is None:
        return True
    return progress.state == "done" and not (
        progress.result["pending"] or progress.result["retrying"]
    )


def _known(ledger: Ledger, act: Operation) -> SentRecord | None:
    if act.kind != "replay":
        return None
    progress = ledger.progress.get(act.id)
    return (
        SentRecord(**progress.result)
        if progress and progress.result
        else SentRecord(act.id, 0, 0, {}, 0, 0, 0)
    )


def _state(ledger: Ledger, act: Operation) -> str:
    if act.kind != "replay":
        return "restored" if act.id in ledger.undone else "done"
    progress = ledger.progress.get(act.id)
    return "stopped" if act.id in ledger.undone else progress.state if progress else "planned"


def _count(desk: DeadLetterAdmin, ledger: Ledger, acts: list[Operation]) -> dict[str, SentRecord]:
    """From what the scorers have written since the first of these was planned."""
    ends = desk.watched_ends()
    since = {
        place: min(act.options["since"].get(place, end) for act in acts)
        for place, end in ends.items()
    }
    watch = OutcomeWatch(desk.config, desk.name, since)
    try:
        topics = {
            (SOURCES if act.options["to"] == "source" else REPLAY_TOPICS)[kind]
            for act in acts
            for kind, _ in ledger.letters(act)
        }
        left, retrying = ReplayRate(desk, watch, topics).backlog(exact=True), desk.retrying()
        watch.read_to(desk.watched_ends())
    finally:
        watch.close()
    return {
        act.id: result(act, ledger.progress[act.id], watch.of(act.id), left, retrying)
        for act in acts
    }
