"""Stages of scoring one event, run one by one and timed."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from time import perf_counter_ns
from typing import Any

from stream_app.core.monitoring.delay_quantiles import DelayQuantiles
from stream_app.core.reading.cleaning_steps import compile_cleaning
from stream_app.core.reading.decoding import NO_SCHEMAS, Schemas, decode
from stream_app.core.reading.record_reader import extract_features
from stream_app.core.reading.selection import (
    find_header,
    is_forwarded,
    read_forwarded,
    source_readers,
)
from stream_app.core.reading.validator import compile_validator
from stream_app.core.scoring.model_protocols import Model
from stream_app.headers import SOURCE
from stream_app.pipeline import Pipeline, parsed
from stream_app.records import Failure, Features, Fields, Record

# Every eighth event passes through the stages a second time, one by one.
SAMPLE_INTERVAL = 8


class Stages:
    """Stages of a loaded pipeline before prediction."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        schema = parsed(pipeline.schema)
        self._validate = compile_validator(schema, pipeline.event_time)
        self._sources = source_readers(pipeline.sources, schema, pipeline.event_time)
        self._clean = compile_cleaning(pipeline.clean)

    def of(self, record: Record, schemas: Schemas = NO_SCHEMAS) -> Iterator[tuple[str, Any]]:
        """Yield the name and the result of each stage; a `Failure` is the last.

        A record that `ingest` has forwarded is decoded and validated in one stage.
        """
        fields: Fields | Failure
        if is_forwarded(record.headers):
            content = find_header(record.headers, SOURCE)
            forwarded = read_forwarded(record, content, schemas, self._sources)
            fields = forwarded if isinstance(forwarded, Failure) else forwarded.fields
        else:
            fields = decode(record.value, record.headers, schemas)
            yield "decode", fields
            if isinstance(fields, Failure):
                return
            fields = self._validate(fields)
        yield "validate", fields
        if isinstance(fields, Failure):
            return
        cleaned = self._clean(fields)
        yield "clean", cleaned
        if not isinstance(cleaned, Failure):
            yield "features", extract_features(self._pipeline.features, cleaned.fields)


class StageTimer:
    """Times the stages of single records; reports medians, which other load hardly moves."""

    def __init__(self, pipeline: Pipeline, schemas: Schemas = NO_SCHEMAS) -> None:
        self._stages = Stages(pipeline)
        self._schemas = schemas
        # Nanoseconds by stage.
        self._times: dict[str, DelayQuantiles] = defaultdict(DelayQuantiles)
        self._last = 0

    def measure(self, record: Record, model: Model) -> None:
        """Time the stages of a record up to prediction, or up to its failure."""
        self._last = perf_counter_ns()
        for stage, result in self._stages.of(record, self._schemas):
            self._lap(stage)
            if stage == "features" and not isinstance(result, Failure):
                self._predict(model, result)

    def microseconds(self) -> dict[str, float]:
        """Return the median of each stage that was reached."""
        return {stage: microseconds(times) for stage, times in self._times.items()}

    def _predict(self, model: Model, features: Features) -> None:
        # The outcome of the record reports the exception.
        with suppress(Exception):
            model.score(features)
            self._lap("predict")

    def _lap(self, stage: str) -> None:
        now = perf_counter_ns()
        self._times[stage].add(now - self._last)
        self._last = perf_counter_ns()


def microseconds(nanoseconds: DelayQuantiles) -> float:
    """Return the median in microseconds."""
    return round(nanoseconds.quantile(0.5) / 1000, 1)
