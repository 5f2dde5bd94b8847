"""Selection of records that were dead letters of `ingest`, and are read again."""

from collections.abc import Mapping
from typing import Self

from stream_app.core.reading.decoding import NO_SCHEMAS, Schemas
from stream_app.core.reading.envelopes import Skipped
from stream_app.core.reading.selection import Forwarded, SourceIntake, find_header
from stream_app.headers import REPLAY_INPUT, SOURCE, parse_source
from stream_app.pipeline import Pipeline
from stream_app.records import Failure, Record
from stream_app.topic_kinds import InputKind

Intakes = Mapping[tuple[InputKind, str], SourceIntake]
"""Selections of the sources, by the input that they feed and by their names."""


def input_of(record: Record) -> InputKind:
    """Return the input that a replayed record belongs to, as its header says."""
    return "labels" if find_header(record.headers, REPLAY_INPUT) == b"labels" else "raw"


class ReplayedIntake:
    """Decides what happens to a record at the place that it has in its source.

    The role `ingest` and the preview of a replay use it, so they decide alike.
    """

    def __init__(self, intakes: Intakes) -> None:
        self._intakes = intakes

    @classmethod
    def of(cls, pipeline: Pipeline) -> Self:
        """Return the decisions about the sources of a loaded pipeline."""
        events: Intakes = {
            ("raw", source.source_name): SourceIntake(pipeline, source, label=False)
            for source in pipeline.sources
        }
        labels: Intakes = {
            ("labels", source.source_name): SourceIntake(pipeline, source, label=True)
            for source in pipeline.label.sources
        }
        return cls({**events, **labels})

    def read(
        self, kind: InputKind, record: Record, schemas: Schemas = NO_SCHEMAS
    ) -> Forwarded | Skipped | Failure:
        """Return what happens to a record: forwarded, left out, or a dead letter of the failure.

        Args:
            kind: input that the record belongs to.
            record: key, value and producer's headers as in the source, and the header `SOURCE`.
            schemas: writer schemas that Avro records refer to.
        """
        position = parse_source(find_header(record.headers, SOURCE))
        intake = None if position is None else self._intakes.get((kind, position.source))
        if position is None or intake is None:
            what = "events" if kind == "raw" else "labels"
            text = f"header {SOURCE} names no source of {what} of the pipeline"
            return Failure("unknown-source", text)
        return intake.read(record, schemas, position)
