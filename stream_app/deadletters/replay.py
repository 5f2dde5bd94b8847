"""Replaying dead letters: prepare, which only reads; decide, which pins them; send, which anybody may repeat."""

import time
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from stream_app.clients.kafka import ConnectionErrors, bootstrap_servers, make_consumer
from stream_app.clients.offsets import bounds
from stream_app.clients.progress import reporter
from stream_app.core.predict import Model
from stream_app.deadletters.access import open_dead_letters
from stream_app.deadletters.acts import Act, Letters, count, operator
from stream_app.deadletters.check import Checker
from stream_app.deadletters.desk import Decision, Desk
from stream_app.deadletters.edits import Edit, EditFailure, load_edit
from stream_app.deadletters.ledger import Ledger
from stream_app.deadletters.letter import DeadLetter
from stream_app.deadletters.model import present_model
from stream_app.deadletters.outgoing import Route
from stream_app.deadletters.planning import Editing, Plan, Planner, Wish, act_id, check_open
from stream_app.deadletters.refusing import nothing_open
from stream_app.deadletters.selection import Selection
from stream_app.deadletters.sender import Pace, Report, Sender, Sent
from stream_app.errors import FencedError, ModelError, ReplayError, SelectionError
from stream_app.fingerprint import fingerprint
from stream_app.models.artifacts import pipeline_store
from stream_app.models.loaded import load_version
from stream_app.pipeline import Pipeline
from stream_app.settings import Settings
from stream_app.status.books import read_sheets
from stream_app.status.tail import Tail
from stream_app.streaming.roles.versions import published


@dataclass(frozen=True)
class Prepared:
    """Either an unfinished replay to be gone on with, or a plan of a new one, with the ledger that it was made from."""

    ledger: Ledger
    act: Act | None = None
    plan: Plan | None = None

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        if self.plan is None:
            return {"continues": self.act.id if self.act else None}
        return self.plan.as_dict()


class Mending(NamedTuple):
    """An edit, and the SHA-256 of its file."""

    edit: Edit | None
    digest: str


def load_mending(spec: str | None) -> Mending:
    """The edit that `FILE:function` names, if one is named; raises as `load_edit` does."""
    if spec is None:
        return Mending(None, "")
    edit = load_edit(spec)
    file, _, name = spec.rpartition(":")
    return Mending(edit, f"{sha256(Path(file).read_bytes()).hexdigest()}:{name}")


class Replay:
    """One replay of the dead letters of a loaded pipeline, as it is wished for; `edit` mends what is sent."""

    def __init__(self, settings: Settings, pipeline: Pipeline, wish: Wish, edit: Edit | None) -> None:
        self.desk = Desk(settings, pipeline.name)
        self._settings = settings
        self._pipeline = pipeline
        self._wish = wish
        self._editing = Editing(pipeline, edit)

    def prepare(self, selection: Selection, replay_id: str | None) -> Prepared:
        """Find the unfinished replay that was wished for in the same words, or plan one. Writes nothing.

        Raises SelectionError if nothing that is open fits, ModelError if the model version cannot be loaded.
        """
        ledger = self.desk.ledger()
        act = self._unfinished(ledger, replay_id)
        if act is not None:
            return Prepared(ledger, act=act)
        model = self._model()
        with open_dead_letters(self._settings, self._pipeline) as dead:
            planner = self._planner(model)
            chosen = list(planner.open_of(dead.index.select(selection), ledger))
            with reporter("checking dead letters", len(chosen)) as progress:
                for number, letter in enumerate(dead.letters.read(chosen), start=1):
                    planner.add(letter)
                    progress.update(number, number)
        if not chosen:
            raise nothing_open(self._wish.what, planner.plan.states)
        return Prepared(ledger, plan=planner.plan)

    def decide(self, prepared: Prepared, why: str, replay_id: str | None) -> Act | None:
        """Pin the plan in the ledger, and park what was sent too often; None if nothing is left to be sent.

        Raises FencedError if somebody has acted on these letters meanwhile.
        """
        plan = prepared.plan or Plan()
        wish, letters, parked, now = self._wish, plan.letters(), plan.parking(), int(time.time() * 1000)
        made: list[Act] = []

        def make(ledger: Ledger) -> list[Decision]:
            known = self._known(ledger, letters, replay_id)
            if known is not None:
                made.append(known)
                return []
            if not all(check_open(ledger, prepared.ledger, one) for one in (letters, parked)):
                raise FencedError("Somebody has acted on these dead letters meanwhile", "Look again, and repeat it")
            decisions: list[Decision] = []
            if letters:
                made.append(self._act(replay_id or act_id(ledger, "replay", letters, wish.request), letters, why, now))
                decisions.append((made[0], letters, {"letters": made[0].letters, "would_fail": plan.failing.total()}))
            if parked:
                reason = f"sent {wish.most} times already: {why}"
                act = Act(act_id(ledger, "park", parked), "park", now, operator(), wish.what, reason, count(parked))
                decisions.append((act, parked, {"letters": act.letters}))
            return decisions

        self.desk.decide(make)
        return made[0] if made else None

    def send(self, act: Act, pace: Pace, report: Report) -> Sent:
        """Send what is left of it; see `Sender.send`."""
        return Sender(self.desk, act, self._edited, pace, report).send()

    def _act(self, replay_id: str, letters: Letters, why: str, now: int) -> Act:
        wish = self._wish
        options: dict[str, Any] = {"to": wish.to, "learn": wish.learn, "model": wish.model, "edit": wish.edit}
        options["since"] = self.desk.watched_ends()
        total = count(letters)
        return Act(replay_id, "replay", now, operator(), wish.what, why, total, wish.request, options=options)

    def _edited(self, letter: DeadLetter) -> tuple[bytes | None, bytes | None]:
        edited = self._editing(letter)
        if edited is None or isinstance(edited, EditFailure):
            raise ReplayError(
                f"The edit gives nothing for dead letter {letter.ref.error_id}, although it did when it was planned",
                "Let it depend on the letter alone; `stream-app dead-letters restore` gives back what is not sent",
            )
        return edited

    def _unfinished(self, ledger: Ledger, replay_id: str | None) -> Act | None:
        named = ledger.acts.get(replay_id) if replay_id else None
        if named is not None:
            if not ledger.unfinished(named):
                raise SelectionError(f"{replay_id} is finished", "Give another --replay-id, or none")
            if named.options["edit"] != self._wish.edit:
                raise SelectionError(f"Replay {replay_id} has another edit", "Give the same file by --edit")
            return named
        if replay_id:
            return None
        acts = (act for act in ledger.acts.values() if act.request == self._wish.request and ledger.unfinished(act))
        return next(acts, None)

    def _known(self, ledger: Ledger, letters: Letters, replay_id: str | None) -> Act | None:
        """The same replay, if another operator has just decided on it."""
        if not letters:
            return None
        act = ledger.acts.get(replay_id or act_id(ledger, "replay", letters, self._wish.request))
        if act is not None and act.request != self._wish.request:
            raise SelectionError(f"{act.id} is already the name of another act", "Give another --replay-id")
        return act

    def _planner(self, model: Model) -> Planner:
        wish = self._wish
        route = Route("planned", wish.to == "source", wish.learn, wish.model, self.desk.partitions)
        checker = Checker(self._pipeline, model, self._clocks())
        return Planner(wish, route, self._editing, checker, self._settings.topics.max_message_bytes)

    def _model(self) -> Model:
        if self._wish.model is None:
            return present_model(self._settings, self._pipeline).model
        versions = published(self.desk.reader.read_all(self.desk.topic("models"), 0))
        manifest = versions.get(self._wish.model)
        if manifest is None:
            known = f"{min(versions)} to {max(versions)}" if versions else "none"
            raise ModelError(f"There is no model version {self._wish.model}", f"Choose one that there is: {known}")
        store = pipeline_store(self._settings, self._pipeline.name)
        return load_version(store, manifest, self._pipeline, fingerprint(self._pipeline))

    def _clocks(self) -> dict[int, int]:
        """The clock of each partition's scorer."""
        errors = ConnectionErrors(bootstrap_servers(self._settings), self._settings.kafka)
        consumer = make_consumer(self._settings, errors, fetch_wait_max_ms=50)
        try:
            places = [(self.desk.topic("score.state"), number) for number in range(self.desk.partitions)]
            sheets = read_sheets(Tail(consumer, errors), bounds(consumer, errors, places))
        finally:
            consumer.close()
        return {partition: sheet.clock for partition, sheet in sheets.items()}
