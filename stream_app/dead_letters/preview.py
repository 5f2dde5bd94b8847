"""Previews of dead letters: outcomes with the current pipeline, without sending anything."""

from dataclasses import asdict, dataclass, field
from typing import Any

from stream_app.dead_letters.dead_letter_record import DeadLetter, DeadLetterRef
from stream_app.dead_letters.record_evaluator import RecordEvaluator, RepeatedFailure
from stream_app.dead_letters.replay_records import EditFailure, RecordEditor
from stream_app.error_codes import ErrorClass


@dataclass(slots=True)
class FailureSummary:
    """Dead letters that would fail again, or could not be edited, for one reason.

    Attributes:
        code: error code, or "edit-failed".
        message: description of the failure.
        location: line of the user's code that raised an exception, e.g. "orders.py:31".
        remedy: what to do about it.
        sample: the first of the dead letters.
        count: number of dead letters.
    """

    code: str
    message: str
    location: str | None
    remedy: str
    sample: DeadLetterRef
    count: int = 0


@dataclass(slots=True)
class PreviewResult:
    """Number of dead letters by outcome.

    `evaluated` is the sum of all other numbers and of the counts in `failing`.

    Attributes:
        evaluated: dead letters in total.
        passed: events that would be scored by the model.
        degraded: events that would be scored by the fallback.
        labels: labels that can be read. Whether their events are known, only a worker can tell.
        skipped: dead letters for which the edit function returns None.
        value_not_stored: dead letters whose value was too large to be stored.
        poison: dead letters that crashed or hung a worker. They are not run in a preview.
        failing: failures by cause, in the order of their first dead letter.
    """

    evaluated: int = 0
    passed: int = 0
    degraded: int = 0
    labels: int = 0
    skipped: int = 0
    value_not_stored: int = 0
    poison: int = 0
    failing: list[FailureSummary] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON object of `dead-letters try --json`."""
        failing = [asdict(one) | {"sample": _sample(one.sample)} for one in self.failing]
        return asdict(self) | {"failing": failing}


class Preview:
    """Evaluates dead letters one by one, each as if it were the only one.

    Attributes:
        result: outcomes of the dead letters added so far.
    """

    def __init__(self, evaluator: RecordEvaluator, editor: RecordEditor) -> None:
        self.result = PreviewResult()
        self._evaluator = evaluator
        self._editor = editor
        self._failing: dict[str, FailureSummary] = {}

    def add(self, dead_letter: DeadLetter) -> None:
        """Evaluate one dead letter and count its outcome."""
        result, ref = self.result, dead_letter.ref
        result.evaluated += 1
        if dead_letter.error_class == ErrorClass.POISON:
            result.poison += 1
        elif dead_letter.is_shortened:
            result.value_not_stored += 1
        elif (edited := self._editor(dead_letter)) is None:
            result.skipped += 1
        elif isinstance(edited, EditFailure):
            remedy = "Correct the function."
            summary = FailureSummary("edit-failed", edited.reason, edited.location, remedy, ref)
            self._add_failure(f"edit {edited}", summary)
        else:
            record = dead_letter.original_record()._replace(key=edited.key, value=edited.value)
            self._count(ref, self._evaluator.failure(ref.kind, record, dead_letter.schemas))

    def _count(self, ref: DeadLetterRef, failure: RepeatedFailure | None) -> None:
        if failure is not None:
            summary = FailureSummary(
                failure.code, failure.message, failure.location, failure.remedy, ref
            )
            self._add_failure(f"{ref.kind} {failure.fingerprint}", summary)
        elif ref.kind == "labels.dlq":
            self.result.labels += 1
        elif self._evaluator.is_degraded:
            self.result.degraded += 1
        else:
            self.result.passed += 1

    def _add_failure(self, cause: str, summary: FailureSummary) -> None:
        if cause not in self._failing:
            self._failing[cause] = summary
            self.result.failing.append(summary)
        self._failing[cause].count += 1


def _sample(ref: DeadLetterRef) -> dict[str, Any]:
    return {"error_id": ref.error_id, "origin": ref.origin._asdict()}
