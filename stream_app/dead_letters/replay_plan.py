"""What a replay would send: the letters, pinned, each of them edited and checked; nothing is written here."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from stream_app.dead_letters.dead_letter_record import DeadLetter, DeadLetterRef
from stream_app.dead_letters.edits import EditFailure, Editing
from stream_app.dead_letters.evaluation import RecordEvaluator
from stream_app.dead_letters.ledger import Ledger
from stream_app.dead_letters.offset_ranges import OffsetRanges
from stream_app.dead_letters.operations import Letters, Spot
from stream_app.dead_letters.replay_records import ReplayRoute, replay_count
from stream_app.error_codes import ERROR_CODES, ErrorClass, Stage
from stream_app.records import Output, size

MOST = 3  # times that a letter is sent before it is parked
_BROKEN = (Stage.DECODE, Stage.VALIDATE)


@dataclass(frozen=True, slots=True)
class ReplayRequest:
    """What an operator asks for; `what` is the selection in words, `edit` the SHA-256 of the edit's file or empty."""

    what: str
    edit: str = ""
    to: str = "replay"
    learn: bool = True
    model: int | None = None
    most: int = MOST

    @property
    def options(self) -> dict[str, Any]:
        """How the letters are sent."""
        return {"to": self.to, "learn": self.learn, "model": self.model, "edit": self.edit}

    @property
    def request(self) -> str:
        """The same for the same wish."""
        return digest(self.what, *self.options.values())


@dataclass(slots=True)
class EvaluatedSample:
    """One letter that would fail, and why."""

    ref: DeadLetterRef
    code: str
    message: str


@dataclass(slots=True)
class ReplayPlan:
    """What would become of the chosen letters; every one of them is counted once in `states` or in what follows.

    `states` counts those that are not open. `send` and `park` are open ones, the latter sent too often already.
    `left_out` are those that the edit leaves out, `not_kept` those whose bytes are gone, `too_large` do not fit their
    topic. Of those to be sent, `failing` counts by code what would fail again, `unchecked` what has harmed a worker
    and is not run here.
    """

    states: Counter[str] = field(default_factory=Counter)
    send: dict[Spot, list[int]] = field(default_factory=dict)
    park: dict[Spot, list[int]] = field(default_factory=dict)
    left_out: int = 0
    not_kept: int = 0
    too_large: int = 0
    edit_failures: Counter[EditFailure] = field(default_factory=Counter)
    failing: Counter[str] = field(default_factory=Counter)
    unchecked: int = 0
    sample: dict[str, EvaluatedSample] = field(default_factory=dict)
    edited: tuple[bytes | None, bytes | None] | None = (
        None  # the first that the edit changed: before, after
    )

    @property
    def sending(self) -> int:
        """How many would be sent."""
        return sum(map(len, self.send.values()))

    @property
    def broken(self) -> int:
        """How many of those to be sent do not fit the schema."""
        return sum(
            number for code, number in self.failing.items() if ERROR_CODES[code].stage in _BROKEN
        )

    @property
    def relapse(self) -> float:
        """The share that would fail again."""
        return self.failing.total() / self.sending if self.sending else 0.0

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        return {
            "sending": self.sending,
            "parking": sum(map(len, self.park.values())),
            "others": dict(self.states),
            "left_out": self.left_out,
            "not_kept": self.not_kept,
            "too_large": self.too_large,
            "edit_fails": self.edit_failures.total(),
            "would_fail": dict(self.failing),
            "unchecked": self.unchecked,
        }

    def letters(self) -> Letters:
        """Those to be sent."""
        return _runs(self.send)

    def parking(self) -> Letters:
        """Those to be parked."""
        return _runs(self.park)


class ReplayPlanner:
    """Makes a plan of letters that are read one after the other."""

    def __init__(
        self,
        wish: ReplayRequest,
        route: ReplayRoute,
        editing: Editing,
        judge: RecordEvaluator,
        max_bytes: int,
    ) -> None:
        self.plan = ReplayPlan()
        self._wish = wish
        self._route = route
        self._editing = editing
        self._judge = judge
        self._max_bytes = max_bytes

    def open_of(self, refs: Iterable[DeadLetterRef], ledger: Ledger) -> Iterator[DeadLetterRef]:
        """Those that are open; counts the others."""
        for ref in refs:
            state = ledger.state(ref)
            if state == "open":
                yield ref
            else:
                self.plan.states[state] += 1

    def add(self, letter: DeadLetter) -> None:
        """ReplayPlan one open letter."""
        plan, ref = self.plan, letter.ref
        spot = ref.kind, ref.partition
        if letter.is_shortened:
            plan.not_kept += 1
        elif replay_count(letter) >= self._wish.most:
            plan.park.setdefault(spot, []).append(ref.offset)
        elif (edited := self._editing(letter)) is None:
            plan.left_out += 1
        elif isinstance(edited, EditFailure):
            plan.edit_failures[edited] += 1
        else:
            self._send(letter, spot, *edited)

    def _send(self, letter: DeadLetter, spot: Spot, key: bytes | None, value: bytes | None) -> None:
        plan, record = self.plan, self._route.outgoing(letter, key, value)
        if (
            size(Output(record.topic, record.partition, key, value, record.headers))
            > self._max_bytes
        ):
            plan.too_large += 1
            return
        plan.send.setdefault(spot, []).append(letter.ref.offset)
        if plan.edited is None and value != letter.value:
            plan.edited = letter.value, value
        if letter.error_class == ErrorClass.POISON:
            plan.unchecked += 1
            return
        relapse = self._judge.relapse(letter.ref.kind, record, letter.schemas)
        if relapse is not None:
            plan.failing[relapse.code] += 1
            plan.sample.setdefault(
                relapse.code, EvaluatedSample(letter.ref, relapse.code, relapse.message)
            )


def act_id(ledger: Ledger, kind: str, letters: Letters, *parts: Any) -> str:
    """An id that follows from what is done with which letters; another one if that has been done and taken back."""
    content = sorted((*spot, runs.encode()) for spot, runs in letters.items())
    turn = 0
    while True:
        found = digest(kind, content, *parts, turn)
        act = ledger.acts.get(found)
        if act is None or ledger.unfinished(act):
            return found
        turn += 1


def digest(*parts: Any) -> str:
    """A short name of these values."""
    return blake2b(json.dumps(parts).encode(), digest_size=5).hexdigest()


def check_open(ledger: Ledger, seen: Ledger, letters: Letters) -> bool:
    """Whether nobody has acted on these letters since they were `seen` open."""
    if ledger.acts.keys() == seen.acts.keys():
        return True
    held = [ledger.held(act) for act in ledger.acts.values() if act.id not in seen.acts]
    return not any(
        offset in runs[spot]
        for runs in held
        for spot, wanted in letters.items()
        if spot in runs
        for start, end in zip(wanted.starts, wanted.ends, strict=True)
        for offset in range(start, end)
    )


def _runs(offsets: dict[Spot, list[int]]) -> dict[Spot, OffsetRanges]:
    return {spot: OffsetRanges.of(found) for spot, found in sorted(offsets.items())}
