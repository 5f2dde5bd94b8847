"""What is reported on `<pipeline>.monitoring`: one measurement per record."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import orjson

from stream_app.core.example import ExampleOffsets
from stream_app.records import Output

Kind = Literal[
    "performance",
    "cumulative",
    "baseline",
    "drift",
    "alarm",
    "corrective_action",
    "experimentation_needed",
    "unlearnable",
    "volume",
    "coverage",
    "delay",
]

LOSSES = frozenset({"log_loss", "brier", "mae", "rmse"})
"""Metrics of which less is better."""


class LimitCheck(NamedTuple):
    """A limit, and whether it was passed; without a limit nothing is breached."""

    threshold: float | None = None
    breached: bool = False


class Measurement(NamedTuple):
    """One measured value; the time it was written is the Kafka record's own.

    `kind` says what sort, `name` which metric or variable. The window is `start` (inclusive) to `end` (exclusive) in
    epoch milliseconds of event time and holds `n` observations. `reference` is what the value is compared with.
    `model_version` served the newest of them. `value` is None where it is undefined, as ROC AUC for a single class.

    `examples` are those that something is about, as far as it is about any.

    Of a corrective action and of an alarm that lasts, `name` says which, `reference` the cause and `n` how often; the
    window is from since when until when, by the clock of the worker, and `source` says which task or worker it is.
    """

    kind: Kind
    name: str
    start: int
    end: int
    n: int
    value: float | None = None
    judgement: LimitCheck = LimitCheck()
    reference: str | None = None
    model_version: int | None = None
    source: str | None = None
    examples: ExampleOffsets | None = None

    def output(self, pipeline: str) -> Output:
        """As the record to write, keyed by kind and name."""
        fields = {
            "kind": self.kind,
            "name": self.name,
            "pipeline": pipeline,
            "model_version": self.model_version,
            "window": {"start": self.start, "end": self.end},
            "reference": self.reference,
            "n": self.n,
            "value": self.value,
            "threshold": self.judgement.threshold,
            "breached": self.judgement.breached,
            "source": self.source,
            "examples": None if self.examples is None else self.examples._asdict(),
        }
        return Output("monitoring", -1, f"{self.kind}/{self.name}".encode(), orjson.dumps(fields))


def lasts(measurement: Mapping[str, Any]) -> bool:
    """Whether a measurement, as it was written, tells of an alarm that lasts, and not of one moment."""
    window = measurement["window"]
    return bool(measurement["kind"] == "alarm" and window["end"] > window["start"])
