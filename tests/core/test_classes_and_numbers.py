"""Classes and numbers through the whole core, with delayed labels: the metrics of River's own evaluation."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from river import base, datasets, evaluate, linear_model, metrics, naive_bayes, preprocessing

from stream_app.pipeline import Label, Pipeline
from stream_app.records import Features, Fields
from stream_app.testing import PipelineHarness
from stream_app.transformers import Pick
from tests.small_pipeline import NOW

DELAY = timedelta(minutes=30, seconds=30)
MINUTE = timedelta(minutes=1)
AT, TOLERANCE = "__at", 1e-9
EVENT = {
    "type": "record",
    "name": "Row",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "x", "type": {"type": "map", "values": "double"}},
    ],
}


def features(fields: Fields) -> Features:
    """The row."""
    found: Features = fields["x"]
    return found


def segments_model() -> Any:
    """One that knows every class, for River does not judge a prediction that has none."""
    rows = list(datasets.ImageSegments())
    model = Pick(sorted(rows[0][0])) | naive_bayes.GaussianNB()
    for x, segment in {segment: (x, segment) for x, segment in rows}.values():
        model.learn_one(x, segment)
    return model


def approval_model() -> Any:
    """Scaled rows, and a line."""
    names = sorted(next(iter(datasets.TrumpApproval()))[0])
    return Pick(names) | preprocessing.StandardScaler() | linear_model.LinearRegression()


class Complete(metrics.CrossEntropy):  # type: ignore[misc]  # River's bases are not checked
    """A class without a probability counts as one of probability 0; River's own counts it as none at all."""

    def update(self, y_true: str, y_pred: dict[str, float], w: float = 1.0) -> None:
        super().update(y_true, {y_true: 0.0, **y_pred}, w)


def served(
    rows: Sequence[tuple[Features, Any]], avro_type: str, model: Callable[[], Any]
) -> PipelineHarness:
    """Our pipeline after all rows, one a minute."""
    fields = [*EVENT["fields"][:2], {"name": "truth", "type": avro_type}]
    schema = {"type": "record", "name": "Truth", "fields": fields}
    label = Label(schema=schema, field="truth", time="at", horizon=timedelta(hours=1))
    harness = PipelineHarness(
        Pipeline(
            name="rows",
            schema=EVENT,
            event_id="id",
            event_time="at",
            features=features,
            model=model,
            label=label,
        )
    )
    late = DELAY // timedelta(milliseconds=1)
    events = [{"id": f"r{i}", "at": NOW + i * 60_000, "x": x} for i, (x, _) in enumerate(rows)]
    labels = [
        {"id": f"r{i}", "at": NOW + i * 60_000 + late, "truth": y} for i, (_, y) in enumerate(rows)
    ]
    harness.replay(events, labels)
    assert harness.books.joined == len(events)
    return harness


def theirs(rows: Sequence[tuple[Features, Any]], model: base.Estimator, metric: Any) -> Any:
    """River's evaluation of the same."""
    start = datetime(2023, 1, 1, tzinfo=UTC)
    dataset = [({**x, AT: start + i * MINUTE}, y) for i, (x, y) in enumerate(rows)]
    return evaluate.progressive_val_score(dataset, model, metric, moment=AT, delay=DELAY)


def test_image_segments_by_naive_bayes() -> None:
    rows = list(datasets.ImageSegments())[::3]
    found = served(rows, "string", segments_model).metrics
    decided = theirs(
        rows, segments_model(), metrics.Accuracy() + metrics.MacroF1() + metrics.CohenKappa()
    )
    expected = [*decided.get(), theirs(rows, segments_model(), Complete()).get()]
    names = ("accuracy", "macro_f1", "kappa", "log_loss")
    assert [found[name] for name in names] == pytest.approx(expected, rel=TOLERANCE)
    assert found["accuracy"] > 0.7 > 0.3 > found["majority_accuracy"]


def test_presidential_approval_by_linear_regression() -> None:
    rows = list(datasets.TrumpApproval())
    found = served(rows, "double", approval_model).metrics
    expected = theirs(rows, approval_model(), metrics.MAE() + metrics.RMSE() + metrics.R2()).get()
    assert [found[name] for name in ("mae", "rmse", "r2")] == pytest.approx(expected, rel=TOLERANCE)
