"""What the pipeline as it is now would make of a record."""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from stream_app.clock import now_ms
from stream_app.core.reading.decoding import Schemas
from stream_app.core.scoring.partition_state import NEVER, PartitionState
from stream_app.core.scoring.predictor import Model
from stream_app.core.scoring.scorer import Scorer
from stream_app.dead_letters.dead_letter_record import Kind
from stream_app.declaration.pipeline_fingerprint import fingerprint
from stream_app.error_codes import ERROR_CODES
from stream_app.headers import ERROR_CODE, ERROR_FINGERPRINT, ERROR_MESSAGE, ERROR_STACKTRACE
from stream_app.pipeline import Pipeline
from stream_app.records import Output, Record
from stream_app.resilience import Retry
from stream_app.settings import Settings
from stream_app.telemetry.metrics import app_version

_MILLISECOND = timedelta(milliseconds=1)
_ONE_TRY = Retry(attempts=1)


@dataclass(frozen=True, slots=True)
class RepeatedFailure:
    """Why a record would fail; `cause` is the same for all failures of one cause.

    `where` is a line of the pipeline's own code, as "orders.py:31", if it raised an exception.
    """

    code: str
    message: str
    cause: str
    where: str | None

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return ERROR_CODES[self.code].remedy


class RecordEvaluator:
    """A scorer that gets every record as if it were alone: no duplicates, no fallback because of others' failures.

    `clocks` are those of the real scorers' states, by partition, epoch milliseconds: what is older than they can tell
    from a duplicate fails as `event-too-late`. Whether the event of a label is known, only they can tell.
    """

    def __init__(
        self, settings: Settings, pipeline: Pipeline, model: Model, clocks: Mapping[int, int]
    ) -> None:
        self._horizon = pipeline.label.horizon // _MILLISECOND
        self._lateness = pipeline.label.allowed_lateness // _MILLISECOND
        self._model = model
        self._clocks = clocks
        self._now = now_ms()
        self._scorer = Scorer(
            pipeline,
            fingerprint(pipeline),
            self._state(0),
            clock=time.perf_counter,
            group=f"{pipeline.name}-score",
            app_version=app_version(),
            max_bytes=settings.topics.max_message_bytes - 1024,  # as scorers are made
            max_entries=settings.worker.max_state_entries,
        )

    def relapse(self, kind: Kind, record: Record, schemas: Schemas) -> RepeatedFailure | None:
        """Why it would fail; None if it would be scored, or, being a label, be kept for its event."""
        scorer = self._scorer
        scorer.start_over(self._state(record.partition))
        work = scorer.join if kind == "labels.dlq" else scorer.score
        outputs = work([record], self._model, self._now, schemas)
        return next((_relapse(output) for output in outputs if output.topic == kind), None)

    @property
    def degraded(self) -> bool:
        """Whether the last event's score was the fallback's."""
        return bool(self._scorer.degraded)

    def _state(self, partition: int) -> PartitionState:
        state = PartitionState(partition, self._horizon, self._lateness, _ONE_TRY)
        state.clock = self._clocks.get(partition, NEVER)
        return state


def _relapse(output: Output) -> RepeatedFailure:
    facts = {name: (content or b"").decode() for name, content in output.headers}
    lines = re.findall(
        r'File "(?:[^"]*[/\\])?([^"]+)", line (\d+)', facts.get(ERROR_STACKTRACE, "")
    )
    where = ":".join(lines[-1]) if lines else None
    return RepeatedFailure(facts[ERROR_CODE], facts[ERROR_MESSAGE], facts[ERROR_FINGERPRINT], where)
