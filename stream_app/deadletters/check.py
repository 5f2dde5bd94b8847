"""Whether a dead letter would pass the pipeline as it is now."""

import time
from collections.abc import Mapping

from stream_app.core.decode import Schemas
from stream_app.core.events import EventReader, LabelReader
from stream_app.core.predict import Model
from stream_app.core.records import Failure, RawRecord
from stream_app.core.state import NEVER
from stream_app.deadletters.letter import Kind
from stream_app.pipeline import Pipeline

SCORED = 200  # events that the model has to score; of the others only the features are made
_MILLISECONDS = 1000


class Checker:
    """Reads records as scorers do; `clocks` are those of their states by partition, epoch milliseconds.

    An event that is older than they can tell from a duplicate fails as `event-too-late`.
    """

    def __init__(self, pipeline: Pipeline, model: Model, clocks: Mapping[int, int]) -> None:
        self._events = EventReader(pipeline)
        self._labels = LabelReader(pipeline)
        self._model = model
        self._to_score = SCORED
        label = pipeline.label
        self._kept = int((label.horizon + label.allowed_lateness).total_seconds() * _MILLISECONDS)
        self._clocks = clocks
        self._now = int(time.time() * _MILLISECONDS)

    def failure(self, kind: Kind, record: RawRecord, schemas: Schemas) -> Failure | None:
        """Why it would fail; None if it would be scored, or, being a label, come to its event."""
        if kind == "labels.dlq":
            label = self._labels.read(record, self._now, schemas)
            return label if isinstance(label, Failure) else None
        event = self._events.read(record, self._now, schemas)
        if isinstance(event, Failure):
            return event
        if event.event_time + self._kept < self._clocks.get(record.partition, NEVER):
            return Failure("event-too-late", "the event is older than horizon + allowed lateness")
        if self._to_score > 0:
            self._to_score -= 1
            try:
                self._model.score(event.features)
            except Exception as error:  # a model may raise anything
                return Failure("model-failed", f"the model raised {type(error).__name__}", error)
        return None
