"""Multiclass classification and regression with delayed labels give the metrics of River."""

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
    """Return the row."""
    measured: Features = fields["x"]
    return measured


def segments_model() -> Any:
    """Return a model that knows every class: River does not evaluate empty predictions."""
    rows = list(datasets.ImageSegments())
    model = Pick(sorted(rows[0][0])) | naive_bayes.GaussianNB()
    for x, segment in {segment: (x, segment) for x, segment in rows}.values():
        model.learn_one(x, segment)
    return model


def approval_model() -> Any:
    """Return a linear regression on scaled rows."""
    names = sorted(next(iter(datasets.TrumpApproval()))[0])
    return Pick(names) | preprocessing.StandardScaler() | linear_model.LinearRegression()


class CompleteCrossEntropy(metrics.CrossEntropy):  # type: ignore[misc]  # River's bases are not checked
    """Cross entropy in which a class without probability has probability 0, unlike River's."""

    def update(self, y_true: str, y_pred: dict[str, float], w: float = 1.0) -> None:
        super().update(y_true, {y_true: 0.0, **y_pred}, w)


def replayed(
    rows: Sequence[tuple[Features, Any]], avro_type: str, model: Callable[[], Any]
) -> PipelineHarness:
    """Return the harness of a pipeline after all rows, one per minute."""
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
    assert harness.record_counts.joined == len(events)
    return harness


def evaluated_by_river(
    rows: Sequence[tuple[Features, Any]], model: base.Estimator, metric: Any
) -> Any:
    """Return the metric of River's evaluation of the same rows."""
    start = datetime(2023, 1, 1, tzinfo=UTC)
    dataset = [({**x, AT: start + i * MINUTE}, y) for i, (x, y) in enumerate(rows)]
    return evaluate.progressive_val_score(dataset, model, metric, moment=AT, delay=DELAY)


def test_multiclass_metrics_equal_those_of_river() -> None:
    rows = list(datasets.ImageSegments())[::3]
    measured = replayed(rows, "string", segments_model).metrics
    decisions = evaluated_by_river(
        rows, segments_model(), metrics.Accuracy() + metrics.MacroF1() + metrics.CohenKappa()
    )
    expected = [
        *decisions.get(),
        evaluated_by_river(rows, segments_model(), CompleteCrossEntropy()).get(),
    ]
    names = ("accuracy", "macro_f1", "kappa", "log_loss")
    assert [measured[name] for name in names] == pytest.approx(expected, rel=TOLERANCE)
    assert measured["accuracy"] > 0.7 > 0.3 > measured["majority_accuracy"]


def test_regression_metrics_equal_those_of_river() -> None:
    rows = list(datasets.TrumpApproval())
    measured = replayed(rows, "double", approval_model).metrics
    expected = evaluated_by_river(
        rows, approval_model(), metrics.MAE() + metrics.RMSE() + metrics.R2()
    ).get()
    assert [measured[name] for name in ("mae", "rmse", "r2")] == pytest.approx(
        expected, rel=TOLERANCE
    )
