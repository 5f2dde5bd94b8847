"""What the pipeline as it is now would make of dead letters; nothing is sent."""

from dataclasses import dataclass, field
from datetime import timedelta

from stream_app.core.predict import Model
from stream_app.core.records import RawRecord
from stream_app.core.state import State
from stream_app.deadletters.edits import Edit, EditFailure
from stream_app.deadletters.letter import DeadLetter, Ref
from stream_app.error_codes import ErrorClass
from stream_app.fingerprint import fingerprint
from stream_app.pipeline import Pipeline
from stream_app.testing.engine import make_scorer
from stream_app.testing.outcomes import DeadLetter as Outcome

_MILLISECOND = timedelta(milliseconds=1)


@dataclass(slots=True)
class Failing:
    """Why letters would fail again, or could not be edited; `sample` is the first of them.

    `where` is a line of the user's code, as "orders.py:31", if an exception was raised.
    """

    code: str
    message: str
    where: str | None
    remedy: str
    sample: Ref
    count: int = 0


@dataclass(slots=True)
class Verdict:
    """What would become of letters; `tried` is the sum of all other numbers and of the counts of `failing`.

    `passed` are events that would be scored, `labels` labels that can be read: whether their event is known, only a
    worker can tell. `left_out` are those that the edit leaves out, `not_kept` those whose bytes were too large for the
    topic, `harmful` those that ended or hung a worker, which are not run here.
    """

    tried: int = 0
    passed: int = 0
    labels: int = 0
    left_out: int = 0
    not_kept: int = 0
    harmful: int = 0
    failing: list[Failing] = field(default_factory=list)


class Trial:
    """Tries letters one by one, each as if it were alone: no duplicates, and no event is too late."""

    def __init__(self, pipeline: Pipeline, model: Model, edit: Edit | None = None) -> None:
        self.verdict = Verdict()
        self._model = model
        self._edit = edit
        self._horizon = pipeline.label.horizon // _MILLISECOND
        self._lateness = pipeline.label.allowed_lateness // _MILLISECOND
        self._scorer = make_scorer(pipeline, fingerprint(pipeline))
        self._failing: dict[str, Failing] = {}

    def add(self, letter: DeadLetter, now: int) -> None:
        """Try one; `now` is what the workers' clock would show."""
        verdict = self.verdict
        verdict.tried += 1
        if letter.error_class == ErrorClass.POISON:
            verdict.harmful += 1
        elif letter.is_shortened:
            verdict.not_kept += 1
        else:
            self._process(letter, now)

    def _process(self, letter: DeadLetter, now: int) -> None:
        record = letter.as_record()
        if self._edit is not None:
            value = self._edit(letter)
            if value is None:
                self.verdict.left_out += 1
                return
            if isinstance(value, EditFailure):
                self._fail(f"edit {value}", Failing("edit-failed", value.reason, value.where, _REMEDY, letter.ref))
                return
            record = record._replace(value=value)
        failed = self._failure(letter, record, now)
        if failed is None and letter.ref.kind == "labels.dlq":
            self.verdict.labels += 1
        elif failed is None:
            self.verdict.passed += 1
        else:
            why = Failing(failed.code, failed.message, failed.where, failed.remedy, letter.ref)
            self._fail(f"{record.topic} {failed.fingerprint}", why)

    def _failure(self, letter: DeadLetter, record: RawRecord, now: int) -> Outcome | None:
        self._scorer.state = State(0, horizon=self._horizon, lateness=self._lateness)
        work = self._scorer.join if letter.ref.kind == "labels.dlq" else self._scorer.score
        outputs = work([record], self._model, now, letter.schemas)
        return next((Outcome.of(output) for output in outputs if output.topic == letter.ref.kind), None)

    def _fail(self, cause: str, failing: Failing) -> None:
        if cause not in self._failing:
            self._failing[cause] = failing
            self.verdict.failing.append(failing)
        self._failing[cause].count += 1


_REMEDY = "Correct the function."
