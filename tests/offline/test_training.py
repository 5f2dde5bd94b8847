"""Training from files gives the results of River's delayed progressive validation."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from river import evaluate, metrics
from typer.testing import CliRunner, Result

from stream_app.cli import app
from stream_app.core.learning.learning_rules import Exclusion, LearningRules
from stream_app.errors import DecisionError
from stream_app.loading import load_pipeline
from stream_app.offline.simulation import open_simulation
from stream_app.offline.simulation_rendering import summary_lines
from stream_app.offline.simulation_summary import summarise
from stream_app.offline.training import (
    ReferenceProfile,
    TrainedModel,
    require_better_than_baseline,
)
from stream_app.transformers import Pick
from tests.learning import logistic
from tests.offline import phishing
from tests.offline.trained import train, trained


@pytest.fixture
def declared(tmp_path: Path) -> str:
    path = tmp_path / "declared.py"
    path.write_text(phishing.DECLARED.replace("NAME", "sites"))
    return str(path)


class Told(metrics.LogLoss):  # type: ignore[misc]
    """River's log loss, which also stores its input."""

    def __init__(self) -> None:
        super().__init__()
        self.scores: list[float] = []

    def update(self, y_true: bool, y_pred: dict[bool, float], w: float = 1.0) -> None:
        self.scores.append(y_pred[True])
        super().update(y_true, y_pred, w)


def test_predictions_and_model_are_those_of_rivers_progressive_validation(
    declared: str, tmp_path: Path
) -> None:
    model, told = Pick(list(phishing.seen()[0].features)) | logistic(), Told()
    evaluate.progressive_val_score(
        phishing.for_river(), model, told, moment="moment", delay="delay"
    )
    scores = []
    with open_simulation(load_pipeline(declared), *phishing.write(tmp_path)) as (simulation, _):
        simulation.engine.observers.append(lambda example: scores.append(example.score))
        found = trained(simulation)
    assert scores == told.scores
    assert found.metrics["log_loss"] == pytest.approx(told.get(), abs=1e-12)
    assert found.learner.learned.examples == found.window["n"] == len(phishing.seen())
    rows = [site.features for site in phishing.seen()[::10]]
    assert [found.learner.learned.model.predict_proba_one(x) for x in rows] == [
        model.predict_proba_one(x) for x in rows
    ]


def test_excluded_labels_are_measured_and_not_learned(declared: str, tmp_path: Path) -> None:
    times: list[int] = []
    files = phishing.write(tmp_path)
    with open_simulation(load_pipeline(declared), *files) as (simulation, _):
        simulation.engine.observers.append(lambda example: times.append(example.label_time))
        whole = trained(simulation)
    start, end = sorted(times)[100], sorted(times)[300]
    excluded = sum(start <= one < end for one in times)
    exclusion = Exclusion(1, start, end, None, "", "", "")
    with open_simulation(load_pipeline(declared), *files) as (simulation, _):
        simulation.engine.set_rules(LearningRules((), (exclusion,), 1))
        found = trained(simulation)
        summary = summarise(simulation, 1.0, complete=True)
    assert found.learner.learned.examples == whole.learner.learned.examples - excluded
    assert found.window["n"] == whole.window["n"]
    assert summary["model"]["not_learned"] == {"excluded": excluded}
    assert f"{excluded} excluded or of a paused source" in "\n".join(summary_lines(summary))


def test_distributions_are_those_of_the_data(declared: str, tmp_path: Path) -> None:
    since = phishing.seen()[500].at
    found = train(declared, *phishing.write(tmp_path), since=since)
    measured = [site for site in phishing.seen() if site.at >= since]
    assert found.window == {
        "start": min(site.known_at for site in measured),
        "end": max(site.known_at for site in measured) + 1,
        "n": len(measured),
    }
    assert found.learner.learned.examples == len(phishing.seen())
    assert found.features == sorted(measured[0].features)
    assert found.profile.keys() == {*found.features, "score"}
    for name in found.features:
        values = np.array([site.features[name] for site in measured], dtype=float)
        profile = found.profile[name]
        assert (profile["n"], profile["minimum"], profile["maximum"]) == (
            len(values),
            values.min(),
            values.max(),
        )
        assert (profile["mean"], profile["deviation"]) == pytest.approx(
            (values.mean(), values.std())
        )
        assert (
            profile["deciles"]
            == np.quantile(values, np.arange(1, 10) / 10, method="inverted_cdf").tolist()
        )


def test_text_and_booleans_have_no_distribution_and_a_feature_named_score_is_ignored() -> None:
    profile = ReferenceProfile()
    profile.add({"country": "NL", "abroad": True, "score": 7, "amount": 2.5}, 0.25)
    assert profile.features == {"country", "abroad", "score", "amount"}
    assert {name: found["mean"] for name, found in profile.summary().items()} == {
        "amount": 2.5,
        "score": 0.25,
    }


def measured(**metrics: float) -> TrainedModel:
    window = {"start": 0, "end": 1, "n": 5}
    return TrainedModel(None, metrics, window, {}, [])  # type: ignore[arg-type]  # not used


@pytest.mark.parametrize(
    "metrics",
    [
        {"log_loss": 0.71, "prior_log_loss": 0.55},
        {"log_loss": 0.55, "prior_log_loss": 0.55},
        {"log_loss": float("nan"), "prior_log_loss": 0.55},
        {"mae": 3.0, "mean_mae": 2.0},
        {"roc_auc": 0.5},
        {},
    ],
)
def test_a_model_that_is_no_better_than_none_is_not_promoted(metrics: dict[str, float]) -> None:
    with pytest.raises(DecisionError, match=r"nothing is published\. .* add --force"):
        require_better_than_baseline(measured(**metrics))


def test_a_model_that_is_better_than_none_may_be_promoted(declared: str, tmp_path: Path) -> None:
    require_better_than_baseline(train(declared, *phishing.write(tmp_path)))
    require_better_than_baseline(measured(mae=1.0, mean_mae=2.0))


def run(*arguments: str, **options: Any) -> Result:
    return CliRunner().invoke(app, ["train", *arguments], **options)


def test_without_yes_only_the_metrics_are_shown(declared: str, tmp_path: Path) -> None:
    events, labels = phishing.write(tmp_path)
    with Path(events).open("a") as file:
        file.write("{broken\n")
    unreachable = {"STREAM_APP_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    text = run(declared, events, "--labels", labels, env=unreachable).stdout
    assert "1 x not-sent: not JSON" in text
    assert "Nothing is published yet: add --yes and --why." in text
    found = json.loads(
        run(declared, "-", "--labels", labels, "--json", input=Path(events).read_bytes()).stdout
    )
    assert (found["done"], found["summary"]["events"]["not_sent"]) == (False, 1)
    assert found["offline"]["metrics"]["roc_auc"] > 0.9
    assert f"roc_auc {found['offline']['metrics']['roc_auc']:.4f}" in text


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("-", "--labels", "-"), "only one of the two files"),
        (("e.jsonl", "--labels", "l.jsonl", "--promote"), "it requires --yes"),
        (("e.jsonl", "--labels", "l.jsonl", "--yes"), "say why"),
        (("e.jsonl", "--labels", "l.jsonl", "--measure-since", "soon"), "give 30d or"),
        (("EVENTS",), "--labels"),
    ],
)
def test_a_wrong_command_line_ends_with_2(
    declared: str, tmp_path: Path, arguments: tuple[str, ...], expected: str
) -> None:
    events, _ = phishing.write(tmp_path)
    result = run(declared, *(str(events) if one == "EVENTS" else one for one in arguments))
    assert result.exit_code == 2
    assert expected in result.stderr


def test_nothing_learned_or_nothing_measured_is_an_error(declared: str, tmp_path: Path) -> None:
    events, labels = phishing.write(tmp_path)
    with pytest.raises(DecisionError, match="No example is within the measured time"):
        train(declared, events, labels, since=phishing.seen()[-1].at + 1)
    (tmp_path / "none.jsonl").write_text("")
    with pytest.raises(DecisionError, match="No example was learned"):
        train(declared, events, str(tmp_path / "none.jsonl"))
