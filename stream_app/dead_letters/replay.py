"""Replaying dead letters: prepare, which only reads; decide, which pins them; send, which anybody may repeat."""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from stream_app.clock import now_ms
from stream_app.dead_letters.access import open_dead_letters
from stream_app.dead_letters.current_pipeline import present
from stream_app.dead_letters.dead_letter_admin import DeadLetterAdmin, Decision
from stream_app.dead_letters.dead_letter_record import DeadLetter, DeadLetterRef
from stream_app.dead_letters.dead_letter_selection import DeadLetterSelection
from stream_app.dead_letters.edits import Edit, EditFailure, Editing, load_edit
from stream_app.dead_letters.evaluation import RecordEvaluator
from stream_app.dead_letters.ledger import Ledger
from stream_app.dead_letters.operations import Letters, Operation, count
from stream_app.dead_letters.preconditions import nothing_open
from stream_app.dead_letters.replay_outcomes import SentRecord
from stream_app.dead_letters.replay_plan import (
    ReplayPlan,
    ReplayPlanner,
    ReplayRequest,
    act_id,
    check_open,
)
from stream_app.dead_letters.replay_producer import ReplayProducer, Report, SendRate
from stream_app.dead_letters.replay_records import ReplayRoute
from stream_app.errors import FencedError, ReplayError, SelectionError
from stream_app.pipeline import Pipeline
from stream_app.settings import Settings
from stream_app.telemetry.operator_identity import operator
from stream_app.transfer.send_progress import reporter


@dataclass(frozen=True)
class PreparedReplay:
    """Either an unfinished replay to be gone on with, or a plan of a new one, with the ledger that it was made from."""

    ledger: Ledger
    act: Operation | None = None
    plan: ReplayPlan | None = None

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        if self.plan is None:
            return {"continues": self.act.id if self.act else None}
        return self.plan.as_dict()


class RecordFix(NamedTuple):
    """An edit, and the SHA-256 of its file."""

    edit: Edit | None
    digest: str


def load_mending(spec: str | None) -> RecordFix:
    """The edit that `FILE:function` names, if one is named; raises as `load_edit` does."""
    if spec is None:
        return RecordFix(None, "")
    edit = load_edit(spec)
    file, _, name = spec.rpartition(":")
    return RecordFix(edit, f"{sha256(Path(file).read_bytes()).hexdigest()}:{name}")


class Replay:
    """One replay of the dead letters of a loaded pipeline, as it is wished for; `edit` mends what is sent."""

    def __init__(
        self, settings: Settings, pipeline: Pipeline, wish: ReplayRequest, edit: Edit | None
    ) -> None:
        self.desk = DeadLetterAdmin(settings, pipeline.name)
        self._settings = settings
        self._pipeline = pipeline
        self._wish = wish
        self._editing = Editing(pipeline, edit)

    def prepare(self, selection: DeadLetterSelection, replay_id: str | None) -> PreparedReplay:
        """Find the unfinished replay that was wished for in the same words, or plan one. Writes nothing.

        Raises SelectionError if nothing that is open fits, ModelError if the model version cannot be loaded.
        """
        ledger = self.desk.ledger()
        act = self._unfinished(ledger, replay_id)
        if act is not None:
            return PreparedReplay(ledger, act=act)
        judge = present(self._settings, self._pipeline, self._wish.model).judge
        with open_dead_letters(self._settings, self._pipeline) as dead:
            planner = self._planner(judge)
            chosen = list(planner.open_of(dead.index.select(selection), ledger))
            if not chosen:
                return PreparedReplay(
                    ledger, act=self._holder(ledger, dead.index.select(selection), planner.plan)
                )
            with reporter("checking dead letters", len(chosen)) as progress:
                for number, letter in enumerate(dead.letters.read(chosen), start=1):
                    planner.add(letter)
                    progress.update(number, number)
        return PreparedReplay(ledger, plan=planner.plan)

    def decide(self, prepared: PreparedReplay, why: str, replay_id: str | None) -> Operation | None:
        """Pin the plan in the ledger, and park what was sent too often; None if nothing is left to be sent.

        Raises FencedError if somebody has acted on these letters meanwhile.
        """
        plan = prepared.plan or ReplayPlan()
        wish, letters, parked, now = (
            self._wish,
            plan.letters(),
            plan.parking(),
            now_ms(),
        )
        made: list[Operation] = []

        def make(ledger: Ledger) -> list[Decision]:
            known = self._known(ledger, letters, replay_id)
            if known is not None:
                made.append(known)
                return []
            if not all(check_open(ledger, prepared.ledger, one) for one in (letters, parked)):
                raise FencedError(
                    "Somebody has acted on these dead letters meanwhile",
                    "Look again, and repeat it",
                )
            decisions: list[Decision] = []
            if letters:
                made.append(
                    self._act(
                        replay_id or act_id(ledger, "replay", letters, wish.request),
                        letters,
                        why,
                        now,
                    )
                )
                decisions.append(
                    (
                        made[0],
                        letters,
                        {"letters": made[0].letters, "would_fail": plan.failing.total()},
                    )
                )
            if parked:
                reason = f"sent {wish.most} times already: {why}"
                act = Operation(
                    act_id(ledger, "park", parked),
                    "park",
                    now,
                    operator(),
                    wish.what,
                    reason,
                    count(parked),
                )
                decisions.append((act, parked, {"letters": act.letters}))
            return decisions

        self.desk.decide(make)
        return made[0] if made else None

    def send(self, act: Operation, pace: SendRate, report: Report) -> SentRecord:
        """Send what is left of it; see `ReplayProducer.send`."""
        return ReplayProducer(self.desk, act, self._edited, pace, report).send()

    def _act(self, replay_id: str, letters: Letters, why: str, now: int) -> Operation:
        wish = self._wish
        options = wish.options | {"since": self.desk.watched_ends()}
        total = count(letters)
        return Operation(
            replay_id,
            "replay",
            now,
            operator(),
            wish.what,
            why,
            total,
            wish.request,
            options=options,
        )

    def _edited(self, letter: DeadLetter) -> tuple[bytes | None, bytes | None]:
        edited = self._editing(letter)
        if edited is None or isinstance(edited, EditFailure):
            raise ReplayError(
                f"The edit gives nothing for dead letter {letter.ref.error_id}, although it did when it was planned",
                "Let it depend on the letter alone; `stream-app dead-letters restore` gives back what is not sent",
            )
        return edited

    def _unfinished(self, ledger: Ledger, replay_id: str | None) -> Operation | None:
        named = ledger.acts.get(replay_id) if replay_id else None
        if named is not None:
            if not ledger.unfinished(named):
                raise SelectionError(
                    f"{replay_id} is finished", "Give another --replay-id, or none"
                )
            if named.options["edit"] != self._wish.edit:
                raise SelectionError(
                    f"Replay {replay_id} has another edit", "Give the same file by --edit"
                )
            return named
        if replay_id:
            return None
        acts = (
            act
            for act in ledger.acts.values()
            if act.request == self._wish.request and ledger.unfinished(act)
        )
        return next(acts, None)

    def _holder(self, ledger: Ledger, refs: Iterable[DeadLetterRef], plan: ReplayPlan) -> Operation:
        """The unfinished replay that has these letters, where it is what is wished for, whatever words chose them.

        Else SelectionError, for none of them is open.
        """
        held = {ledger.holder(ref)[1] for ref in refs}
        acts = [act for act in ledger.acts.values() if act.id in held and ledger.unfinished(act)]
        if len(acts) == 1 and self._wish.options.items() <= acts[0].options.items():
            return acts[0]
        raise nothing_open(self._wish.what, plan.states, (act.id for act in acts))

    def _known(self, ledger: Ledger, letters: Letters, replay_id: str | None) -> Operation | None:
        """The same replay, if another operator has just decided on it."""
        if not letters:
            return None
        act = ledger.acts.get(replay_id or act_id(ledger, "replay", letters, self._wish.request))
        if act is not None and act.request != self._wish.request:
            raise SelectionError(
                f"{act.id} is already the name of another act", "Give another --replay-id"
            )
        return act

    def _planner(self, judge: RecordEvaluator) -> ReplayPlanner:
        wish = self._wish
        route = ReplayRoute(
            "planned", wish.to == "source", wish.learn, wish.model, self.desk.partitions
        )
        return ReplayPlanner(
            wish, route, self._editing, judge, self._settings.topics.max_message_bytes
        )
