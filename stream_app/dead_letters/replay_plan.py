"""Plan of a replay: the dead letters to send, each edited and evaluated; nothing is written."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from stream_app.dead_letters.dead_letter_reader import DeadLetter, DeadLetterRef
from stream_app.dead_letters.dry_run import RecordEvaluator
from stream_app.dead_letters.ledger import DeadLetterOffsets, DlqPartition, Ledger, OffsetRanges
from stream_app.dead_letters.replay_records import (
    EditedRecord,
    EditFailure,
    RecordEditor,
    ReplayRoute,
    replay_count,
)
from stream_app.error_codes import ERROR_CODES, ErrorClass, Stage
from stream_app.errors import ReplayError
from stream_app.records import Record, output_size
from stream_app.topic_kinds import TopicKind

# Number of replays of a dead letter after which it is parked instead.
MAX_REPLAYS = 3

_SCHEMA_STAGES = (Stage.DECODE, Stage.VALIDATE)


@dataclass(frozen=True, slots=True)
class ReplayRequest:
    """Request of an operator for a replay.

    Attributes:
        what: selection in words.
        edit: digest of the edit function, "" without one.
        to: "replay" or "source", the topics to send to.
        learn: False if the events must not become examples.
        model: version to score with, None for the served one.
        max_replays: number of replays after which a dead letter is parked instead.
    """

    what: str
    edit: str = ""
    to: str = "replay"
    learn: bool = True
    model: int | None = None
    max_replays: int = MAX_REPLAYS

    @property
    def options(self) -> dict[str, Any]:
        """Options that determine how the records are sent."""
        return {"to": self.to, "learn": self.learn, "model": self.model, "edit": self.edit}

    @property
    def digest(self) -> str:
        """Digest of selection and options, the same for the same request."""
        return short_digest(self.what, *self.options.values())


@dataclass(frozen=True, slots=True)
class FailureSample:
    """A dead letter that would fail again, and its failure."""

    ref: DeadLetterRef
    code: str
    message: str


@dataclass(slots=True)
class ReplayPlan:
    """Selected dead letters by what a replay does with them.

    Attributes:
        not_open: number of dead letters that are not open, by state.
        send: offsets of the dead letters to send.
        topics: kinds of the topics through which the records go.
        park: offsets of the dead letters that have been replayed too often.
        skipped: number for which the edit function returns None.
        value_not_stored: number whose value was too large or unreadable, so not stored.
        too_large: number whose record is too large for its topic.
        edit_failures: number for which the edit function failed, by failure.
        failing: number of those to send that would fail again, by error code.
        left_out: number of those to send that `ingest` would not forward, by outcome.
        poison: number of those to send that crashed or hung a worker. They are not evaluated.
        samples: one dead letter that would fail again, by error code.
        first_edit: value before and after the first edit that changes a value.
    """

    not_open: Counter[str] = field(default_factory=Counter)
    send: dict[DlqPartition, list[int]] = field(default_factory=dict)
    topics: set[TopicKind] = field(default_factory=set)
    park: dict[DlqPartition, list[int]] = field(default_factory=dict)
    skipped: int = 0
    value_not_stored: int = 0
    too_large: int = 0
    edit_failures: Counter[EditFailure] = field(default_factory=Counter)
    failing: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    poison: int = 0
    samples: dict[str, FailureSample] = field(default_factory=dict)
    first_edit: tuple[bytes | None, bytes | None] | None = None

    @property
    def send_count(self) -> int:
        """Number of dead letters to send."""
        return sum(map(len, self.send.values()))

    @property
    def park_count(self) -> int:
        """Number of dead letters to park."""
        return sum(map(len, self.park.values()))

    @property
    def schema_failures(self) -> int:
        """Number of those to send that do not fit the schema."""
        return sum(
            count
            for code, count in self.failing.items()
            if ERROR_CODES[code].stage in _SCHEMA_STAGES
        )

    @property
    def failure_rate(self) -> float:
        """Share of those to send that would fail again, from 0 to 1."""
        return self.failing.total() / self.send_count if self.send_count else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON object of the plan."""
        return {
            "to_send": self.send_count,
            "to_park": self.park_count,
            "not_open": dict(self.not_open),
            "skipped": self.skipped,
            "value_not_stored": self.value_not_stored,
            "too_large": self.too_large,
            "edit_failed": self.edit_failures.total(),
            "would_fail": dict(self.failing),
            "left_out": dict(self.left_out),
            "poison": self.poison,
        }

    def check(self, max_failure_rate: float, *, force: bool) -> None:
        """Check that the plan should be carried out.

        Args:
            max_failure_rate: largest share of records that may fail again, from 0 to 1.
            force: accept any share, except of records that the edit function has broken.

        Raises:
            ReplayError: the edit function fails or breaks records, or too many would fail again.
        """
        if self.edit_failures:
            failure = self.edit_failures.most_common(1)[0][0]
            raise ReplayError(
                f"The edit function fails for {self.edit_failures.total():,} dead letters: "
                f"{failure.reason} at {failure.location}",
                "Correct the function",
            )
        if not self.failing:
            return
        first = self.samples[self.failing.most_common(1)[0][0]]
        example = (
            f"{first.code} {self.failing[first.code]:,}, e.g. {first.ref.error_id}: {first.message}"
        )
        if self.first_edit is not None and self.schema_failures:
            raise ReplayError(
                f"Edited, {self.schema_failures:,} of {self.send_count:,} do not fit the schema: "
                f"{example}",
                "Correct the edit function",
            )
        if self.failure_rate > max_failure_rate and not force:
            all_too_late = self.failing["event-too-late"] == self.failing.total()
            raise ReplayError(
                f"{self.failing.total():,} of {self.send_count:,} would fail again: {example}",
                "Drop them: events that are too old cannot be scored under this pipeline's name"
                if all_too_late
                else "Correct the pipeline, or the dead letters with --edit; "
                "--force sends them nevertheless",
            )


class ReplayPlanner:
    """Builds a plan from dead letters that are added one by one.

    Args:
        request: what the operator asks for.
        route: destination of the records.
        editor: applies the edit function.
        evaluator: evaluates the edited records.
        max_bytes: size limit of a record.

    Attributes:
        plan: the plan so far.
    """

    def __init__(
        self,
        request: ReplayRequest,
        route: ReplayRoute,
        editor: RecordEditor,
        evaluator: RecordEvaluator,
        max_bytes: int,
    ) -> None:
        self.plan = ReplayPlan()
        self._request = request
        self._route = route
        self._editor = editor
        self._evaluator = evaluator
        self._max_bytes = max_bytes

    def open_refs(self, refs: Iterable[DeadLetterRef], ledger: Ledger) -> Iterator[DeadLetterRef]:
        """Yield the dead letters that are open, and count the others in the plan."""
        for ref in refs:
            state = ledger.state(ref)
            if state == "open":
                yield ref
            else:
                self.plan.not_open[state] += 1

    def add(self, dead_letter: DeadLetter) -> None:
        """Add an open dead letter to the plan."""
        plan, ref = self.plan, dead_letter.ref
        if dead_letter.is_shortened:
            plan.value_not_stored += 1
        elif replay_count(dead_letter) >= self._request.max_replays:
            plan.park.setdefault((ref.kind, ref.partition), []).append(ref.offset)
        elif (edited := self._editor(dead_letter)) is None:
            plan.skipped += 1
        elif isinstance(edited, EditFailure):
            plan.edit_failures[edited] += 1
        else:
            self._add_edited(dead_letter, edited)

    def _add_edited(self, dead_letter: DeadLetter, edited: EditedRecord) -> None:
        plan, ref = self.plan, dead_letter.ref
        output = self._route.output(dead_letter, edited)
        if output_size(output) > self._max_bytes:
            plan.too_large += 1
            return
        plan.send.setdefault((ref.kind, ref.partition), []).append(ref.offset)
        plan.topics.update(self._route.topics(dead_letter))
        if plan.first_edit is None and edited.value != dead_letter.value:
            plan.first_edit = dead_letter.value, edited.value
        if dead_letter.error_class == ErrorClass.POISON:
            plan.poison += 1
            return
        record = Record(
            output.topic, output.partition, -1, 0, output.key, output.value, output.headers
        )
        failure = self._evaluator.outcome(dead_letter, record)
        if isinstance(failure, str):
            plan.left_out[failure] += 1
        elif failure is not None:
            plan.failing[failure.code] += 1
            sample = FailureSample(ref, failure.code, failure.message)
            plan.samples.setdefault(failure.code, sample)


def new_operation_id(ledger: Ledger, kind: str, offsets: DeadLetterOffsets, *parts: Any) -> str:
    """Return an id derived from the operation and its dead letters.

    The same operation has the same id, unless it is finished or reverted; then a new id follows.
    """
    content = sorted((*partition, ranges.encode()) for partition, ranges in offsets.items())
    attempt = 0
    while True:
        found = short_digest(kind, content, *parts, attempt)
        operation = ledger.operations.get(found)
        if operation is None or ledger.is_unfinished(operation):
            return found
        attempt += 1


def short_digest(*parts: Any) -> str:
    """Return a digest of JSON values in 10 hexadecimal digits."""
    return blake2b(json.dumps(parts).encode(), digest_size=5).hexdigest()


def are_still_open(ledger: Ledger, planned_from: Ledger, offsets: DeadLetterOffsets) -> bool:
    """Return True if no operation since `planned_from` was read has closed the dead letters."""
    if ledger.operations.keys() == planned_from.operations.keys():
        return True
    newly_closed = [
        ledger.closed_by(operation)
        for operation in ledger.operations.values()
        if operation.id not in planned_from.operations
    ]
    return not any(
        offset in closed[partition]
        for closed in newly_closed
        for partition, wanted in offsets.items()
        if partition in closed
        for start, end in zip(wanted.starts, wanted.ends, strict=True)
        for offset in range(start, end)
    )


def ranges_by_partition(offsets: dict[DlqPartition, list[int]]) -> DeadLetterOffsets:
    """Return lists of offsets as ranges, ordered by partition."""
    return {partition: OffsetRanges.of(numbers) for partition, numbers in sorted(offsets.items())}
