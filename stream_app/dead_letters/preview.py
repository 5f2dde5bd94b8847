"""Trying dead letters on the pipeline as it is now; nothing is sent."""

from dataclasses import asdict, dataclass, field
from typing import Any

from stream_app.dead_letters.dead_letter_record import DeadLetter, DeadLetterRef
from stream_app.dead_letters.edits import EditFailure, Editing
from stream_app.dead_letters.evaluation import RecordEvaluator, RepeatedFailure
from stream_app.error_codes import ErrorClass


@dataclass(slots=True)
class Failing:
    """Letters that would fail again, or could not be edited, for one reason; `sample` is the first of them.

    `where` is a line of the user's code, as "orders.py:31", if an exception was raised.
    """

    code: str
    message: str
    where: str | None
    remedy: str
    sample: DeadLetterRef
    count: int = 0


@dataclass(slots=True)
class PreviewResult:
    """What would become of letters; `tried` is the sum of all other numbers and of the counts of `failing`.

    `passed` are events that would be scored, `degraded` likewise but by the fallback, `labels` labels that can be read:
    whether their event is known, only a worker can tell. `left_out` are those that the edit leaves out, `not_kept`
    those whose bytes were too large for the topic, `harmful` those that ended or hung a worker, which are not run here.
    """

    tried: int = 0
    passed: int = 0
    degraded: int = 0
    labels: int = 0
    left_out: int = 0
    not_kept: int = 0
    harmful: int = 0
    failing: list[Failing] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        samples = [
            {"error_id": one.sample.error_id, "origin": one.sample.origin._asdict()}
            for one in self.failing
        ]
        failing = [
            asdict(one) | {"sample": sample}
            for one, sample in zip(self.failing, samples, strict=True)
        ]
        return asdict(self) | {"failing": failing}


class Preview:
    """Tries letters one by one, each as if it were alone."""

    def __init__(self, judge: RecordEvaluator, editing: Editing) -> None:
        self.verdict = PreviewResult()
        self._judge = judge
        self._editing = editing
        self._failing: dict[str, Failing] = {}

    def add(self, letter: DeadLetter) -> None:
        """Try one."""
        verdict = self.verdict
        verdict.tried += 1
        if letter.error_class == ErrorClass.POISON:
            verdict.harmful += 1
        elif letter.is_shortened:
            verdict.not_kept += 1
        elif (edited := self._editing(letter)) is None:
            verdict.left_out += 1
        elif isinstance(edited, EditFailure):
            failing = Failing(
                "edit-failed", edited.reason, edited.where, "Correct the function.", letter.ref
            )
            self._fail(f"edit {edited}", failing)
        else:
            record = letter.as_record()._replace(key=edited[0], value=edited[1])
            self._count(letter.ref, self._judge.relapse(letter.ref.kind, record, letter.schemas))

    def _count(self, ref: DeadLetterRef, relapse: RepeatedFailure | None) -> None:
        if relapse is not None:
            failing = Failing(relapse.code, relapse.message, relapse.where, relapse.remedy, ref)
            self._fail(f"{ref.kind} {relapse.cause}", failing)
        elif ref.kind == "labels.dlq":
            self.verdict.labels += 1
        elif self._judge.degraded:
            self.verdict.degraded += 1
        else:
            self.verdict.passed += 1

    def _fail(self, cause: str, failing: Failing) -> None:
        if cause not in self._failing:
            self._failing[cause] = failing
            self.verdict.failing.append(failing)
        self._failing[cause].count += 1
