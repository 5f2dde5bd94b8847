"""The stages of a single event, one by one, and how long each takes."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from time import perf_counter_ns
from typing import Any

from stream_app.core.monitoring.delay_quantiles import DelayQuantiles
from stream_app.core.reading.clean_step_runner import clean
from stream_app.core.reading.decoding import NO_SCHEMAS, Schemas, decode
from stream_app.core.reading.feature_extraction import extract
from stream_app.core.reading.validator import compile_validator
from stream_app.core.scoring.predictor import Model
from stream_app.pipeline import Pipeline, parsed
from stream_app.records import Failure, Features, Record

SAMPLE = 8  # every so many-th event is sent through the stages once more, one by one


class Stages:
    """The stages of a loaded pipeline before prediction."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._validate = compile_validator(parsed(pipeline.schema), pipeline.event_time)

    def of(self, record: Record, schemas: Schemas = NO_SCHEMAS) -> Iterator[tuple[str, Any]]:
        """Each stage's name and what it made of the record, as far as it gets: the last may be a `Failure`."""
        fields = decode(record.value, record.headers, schemas)
        yield "decode", fields
        if isinstance(fields, Failure):
            return
        fields = self._validate(fields)
        yield "validate", fields
        if isinstance(fields, Failure):
            return
        cleaned = clean(fields, self._pipeline.clean)
        yield "clean", cleaned
        if not isinstance(cleaned, Failure):
            yield "features", extract(self._pipeline.features, cleaned.fields)


class StageTimer:
    """Times the stages of single records; what it tells are medians, which other programs' load hardly moves."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._stages = Stages(pipeline)
        self._times: dict[str, DelayQuantiles] = defaultdict(DelayQuantiles)  # of nanoseconds
        self._last = 0

    def measure(self, record: Record, model: Model) -> None:
        """Send a record through the stages before learning, as far as it gets."""
        self._last = perf_counter_ns()
        for stage, made in self._stages.of(record):
            self._lap(stage)
            if stage == "features" and not isinstance(made, Failure):
                self._predict(model, made)

    def microseconds(self) -> dict[str, float]:
        """The median of each stage that was reached."""
        return {stage: microseconds(times) for stage, times in self._times.items()}

    def _predict(self, model: Model, features: Features) -> None:
        with suppress(Exception):  # the record's outcome tells what a model raises
            model.score(features)
            self._lap("predict")

    def _lap(self, stage: str) -> None:
        now = perf_counter_ns()
        self._times[stage].add(now - self._last)
        self._last = perf_counter_ns()


def microseconds(nanoseconds: DelayQuantiles) -> float:
    """The median."""
    return round(nanoseconds.quantile(0.5) / 1000, 1)
