"""Accuracies that River publishes for its models, with the learner stored and loaded in between.

https://riverml.xyz/latest/benchmarks/Binary%20classification: River's runs over its bundled data
sets with immediate labels. Where River 0.26.1 gives another figure than that page, which older
releases made, its own evaluation is the reference. As in River, predictions of a model that has not
learned anything are not evaluated.
"""

import math
from collections.abc import Callable
from typing import Any

import pytest
from river import (
    datasets,
    dummy,
    ensemble,
    evaluate,
    forest,
    linear_model,
    metrics,
    naive_bayes,
    neighbors,
    optim,
    preprocessing,
    tree,
)

from stream_app.core.evaluation.prediction_tasks import BinaryTask
from stream_app.core.examples import Example
from stream_app.core.learning.learner import Learner
from stream_app.model_store.model_loading import LoadedModel
from stream_app.model_store.pickling import dump, load, pipeline_names
from stream_app.pipeline import Thresholds
from tests.learning import FINGERPRINT, pipeline

Make = Callable[[], Any]

STORED_EVERY = 500  # examples
# River predicts True above one half.
ABOVE_HALF = Thresholds(decision=math.nextafter(0.5, 1))
DATA = {"Phishing": datasets.Phishing, "Bananas": datasets.Bananas}


def scaled(model: Any) -> Any:
    return preprocessing.StandardScaler() | model


def nearest() -> Any:
    return scaled(neighbors.KNNClassifier(engine=neighbors.SWINN(seed=42)))


def stacking() -> Any:
    several = [
        scaled(linear_model.SoftmaxRegression()),
        naive_bayes.GaussianNB(),
        tree.HoeffdingTreeClassifier(),
    ]
    return ensemble.StackingClassifier(
        [*several, nearest()], meta_classifier=forest.ARFClassifier(seed=42)
    )


FAST: dict[str, tuple[Make, dict[str, float]]] = {
    "logistic regression": (
        lambda: scaled(linear_model.LogisticRegression(optim.SGD(0.005))),
        {"Phishing": 0.8872, "Bananas": 0.543208},
    ),
    "ALMA": (
        lambda: scaled(linear_model.ALMAClassifier()),
        {"Phishing": 0.8256, "Bananas": 0.506415},
    ),
    "last class": (dummy.NoChangeClassifier, {"Phishing": 0.515612, "Bananas": 0.50953}),
    "naive Bayes": (naive_bayes.GaussianNB, {"Phishing": 0.884708}),
    "Hoeffding tree": (tree.HoeffdingTreeClassifier, {"Phishing": 0.879904}),
    "Hoeffding adaptive tree": (
        lambda: tree.HoeffdingAdaptiveTreeClassifier(seed=42),
        {"Phishing": 0.874299, "Bananas": 0.616531},
    ),
}
SLOW: dict[str, tuple[Make, dict[str, float]]] = {
    "nearest neighbours": (nearest, {"Phishing": 0.881505, "Bananas": 0.885073}),
    "bagging": (
        lambda: ensemble.BaggingClassifier(
            tree.HoeffdingAdaptiveTreeClassifier(bootstrap_sampling=False), seed=42
        ),
        {"Phishing": 0.893515},
    ),
    "ADWIN bagging": (
        lambda: ensemble.ADWINBaggingClassifier(tree.HoeffdingTreeClassifier(), seed=42),
        {"Phishing": 0.893515},
    ),
    "AdaBoost": (
        lambda: ensemble.AdaBoostClassifier(tree.HoeffdingTreeClassifier(), seed=42),
        {"Phishing": 0.878303},
    ),
    "adaptive random forest": (lambda: forest.ARFClassifier(seed=42), {}),
    "patches": (lambda: ensemble.SRPClassifier(seed=42), {}),
    "stacking": (stacking, {}),
}


def through_the_core(make: Make, rows: Any) -> float:
    """Return the accuracy of a learner that is stored and loaded every 500 examples."""
    declared = pipeline(make, thresholds=ABOVE_HALF)
    learner = Learner(declared, FINGERPRINT)
    model = LoadedModel("p", 0, FINGERPRINT, learner.state.learned.model, BinaryTask())
    for offset, (x, label) in enumerate(rows):
        if offset == 0 and learner.state.learned.model.predict_one(x) is None:
            learner.state.learned.model.learn_one(x, label)
            continue
        if offset % STORED_EVERY == 0:
            names = pipeline_names(make, scaled)
            learner = Learner(declared, FINGERPRINT, load(dump(learner.state), names))
            model = LoadedModel("p", offset, FINGERPRINT, learner.state.learned.model, BinaryTask())
        learner.learn(offset, Example("e", 0, 0, label, model.score(x), 0, x, FINGERPRINT))
    return learner.state.evaluator.metrics()["accuracy"]


def by_river(make: Make, rows: Any) -> float:
    return float(evaluate.progressive_val_score(rows, make(), metrics.Accuracy()).get())


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize(
    "name", [*FAST, *(pytest.param(name, marks=pytest.mark.faults) for name in SLOW)]
)
def test_the_accuracy_equals_the_one_that_river_publishes(name: str, data: str) -> None:
    make, published = (FAST | SLOW)[name]
    expected = published.get(data)
    found = through_the_core(make, DATA[data]())
    assert found == pytest.approx(
        by_river(make, DATA[data]()) if expected is None else expected, abs=6e-7
    )
