"""One model of every River class that a pipeline may declare."""

from collections.abc import Callable, Iterable
from functools import cache
from itertools import islice
from typing import Any

from river import (
    datasets,
    drift,
    dummy,
    ensemble,
    facto,
    forest,
    imblearn,
    linear_model,
    metrics,
    model_selection,
    multiclass,
    naive_bayes,
    neighbors,
    optim,
    preprocessing,
    rules,
    stats,
    tree,
)

Make = Callable[[], Any]
Rows = list[tuple[dict[str, Any], Any]]

SEED = 7
TREES = 5


@cache
def rows(task: str) -> Rows:
    """Returns 1,000 examples of a data set bundled with River, for a prediction task."""
    source: Iterable[Any] = {
        "binary": datasets.Phishing,
        "multi-class": datasets.ImageSegments,
        "regression": datasets.TrumpApproval,
    }[task]()
    return list(islice(source, 1000))


def _scaled(model: Any) -> Any:
    return preprocessing.StandardScaler() | model


def _logistic(rate: float = 0.05) -> Any:
    return _scaled(linear_model.LogisticRegression(optim.AdaGrad(rate)))


def _linear(rate: float = 0.01) -> Any:
    return _scaled(linear_model.LinearRegression(optim.SGD(rate)))


def _tree() -> Any:
    return tree.HoeffdingTreeClassifier(grace_period=50)


def _regression_tree() -> Any:
    return tree.HoeffdingTreeRegressor(grace_period=50, splitter=tree.splitter.QOSplitter())


def _nearest() -> Any:
    return neighbors.LazySearch(window_size=200)


_BALANCED = {False: 0.5, True: 0.5}

BINARY: dict[str, Make] = {
    "NoChangeClassifier": dummy.NoChangeClassifier,
    "PriorClassifier": dummy.PriorClassifier,
    "AdPredictor": lambda: linear_model.AdPredictor(),
    "ALMAClassifier": lambda: _scaled(linear_model.ALMAClassifier()),
    "LogisticRegression": _logistic,
    "PAClassifier": lambda: _scaled(linear_model.PAClassifier()),
    "Perceptron": lambda: _scaled(linear_model.Perceptron()),
    "FMClassifier": lambda: _scaled(facto.FMClassifier(seed=SEED)),
    "FFMClassifier": lambda: _scaled(facto.FFMClassifier(seed=SEED)),
    "FwFMClassifier": lambda: _scaled(facto.FwFMClassifier(seed=SEED)),
    "HOFMClassifier": lambda: _scaled(facto.HOFMClassifier(seed=SEED)),
    "BernoulliNB": lambda: naive_bayes.BernoulliNB(),
    "ComplementNB": lambda: preprocessing.MinMaxScaler() | naive_bayes.ComplementNB(),
    "GaussianNB": naive_bayes.GaussianNB,
    "MultinomialNB": lambda: preprocessing.MinMaxScaler() | naive_bayes.MultinomialNB(),
    "KNNClassifier": lambda: _scaled(neighbors.KNNClassifier(engine=_nearest())),
    "HoeffdingTreeClassifier": _tree,
    "HoeffdingAdaptiveTreeClassifier": lambda: tree.HoeffdingAdaptiveTreeClassifier(
        grace_period=50, seed=SEED
    ),
    "ExtremelyFastDecisionTreeClassifier": lambda: tree.ExtremelyFastDecisionTreeClassifier(
        grace_period=200
    ),
    "LASTClassifier": lambda: tree.LASTClassifier(),
    "SGTClassifier": lambda: tree.SGTClassifier(feature_quantizer=tree.splitter.DynamicQuantizer()),
    "ARFClassifier": lambda: forest.ARFClassifier(n_models=TREES, seed=SEED),
    "BaggingClassifier": lambda: ensemble.BaggingClassifier(_tree(), TREES, seed=SEED),
    "ADWINBaggingClassifier": lambda: ensemble.ADWINBaggingClassifier(_tree(), TREES, seed=SEED),
    "AdaBoostClassifier": lambda: ensemble.AdaBoostClassifier(_tree(), TREES, seed=SEED),
    "ADWINBoostingClassifier": lambda: ensemble.ADWINBoostingClassifier(_tree(), TREES, seed=SEED),
    "BOLEClassifier": lambda: ensemble.BOLEClassifier(_tree(), TREES, seed=SEED),
    "SRPClassifier": lambda: ensemble.SRPClassifier(_tree(), TREES, seed=SEED),
    "StackingClassifier": lambda: ensemble.StackingClassifier([_tree(), _logistic()], _logistic()),
    "VotingClassifier": lambda: ensemble.VotingClassifier(
        [_tree(), _logistic(), naive_bayes.GaussianNB()]
    ),
    "SuccessiveHalvingClassifier": lambda: model_selection.SuccessiveHalvingClassifier(
        [_logistic(rate) for rate in (0.01, 0.1, 1.0)], metrics.Accuracy(), budget=500
    ),
    "DriftRetrainingClassifier": lambda: drift.DriftRetrainingClassifier(
        _tree(), drift.binary.DDM()
    ),
    "HardSamplingClassifier": lambda: imblearn.HardSamplingClassifier(
        _logistic(), 100, 0.2, seed=SEED
    ),
    "RandomOverSampler": lambda: imblearn.RandomOverSampler(_logistic(), _BALANCED, seed=SEED),
    "RandomUnderSampler": lambda: imblearn.RandomUnderSampler(_logistic(), _BALANCED, seed=SEED),
    "RandomSampler": lambda: imblearn.RandomSampler(
        _logistic(), _BALANCED, sampling_rate=0.8, seed=SEED
    ),
}
MULTI_CLASS: dict[str, Make] = {
    "SoftmaxRegression": lambda: _scaled(linear_model.SoftmaxRegression()),
    "OneVsRestClassifier": lambda: multiclass.OneVsRestClassifier(_logistic()),
    "OneVsOneClassifier": lambda: multiclass.OneVsOneClassifier(_logistic()),
    "OutputCodeClassifier": lambda: multiclass.OutputCodeClassifier(
        _logistic(), code_size=10, seed=SEED
    ),
}
REGRESSION: dict[str, Make] = {
    "StatisticRegressor": lambda: dummy.StatisticRegressor(stats.Mean()),
    "BayesianLinearRegression": lambda: _scaled(linear_model.BayesianLinearRegression()),
    "LinearRegression": _linear,
    "PARegressor": lambda: _scaled(linear_model.PARegressor()),
    "FMRegressor": lambda: _scaled(facto.FMRegressor(clip_gradient=1.0, seed=SEED)),
    "FFMRegressor": lambda: _scaled(facto.FFMRegressor(clip_gradient=1.0, seed=SEED)),
    "FwFMRegressor": lambda: _scaled(facto.FwFMRegressor(clip_gradient=1.0, seed=SEED)),
    "HOFMRegressor": lambda: _scaled(facto.HOFMRegressor(clip_gradient=1.0, seed=SEED)),
    "KNNRegressor": lambda: _scaled(neighbors.KNNRegressor(engine=_nearest())),
    "HoeffdingTreeRegressor": _regression_tree,
    "HoeffdingAdaptiveTreeRegressor": lambda: tree.HoeffdingAdaptiveTreeRegressor(
        grace_period=50, splitter=tree.splitter.QOSplitter(), seed=SEED
    ),
    "SGTRegressor": lambda: tree.SGTRegressor(feature_quantizer=tree.splitter.DynamicQuantizer()),
    "ARFRegressor": lambda: forest.ARFRegressor(
        TREES, splitter=tree.splitter.QOSplitter(), seed=SEED
    ),
    "OXTRegressor": lambda: forest.OXTRegressor(TREES, seed=SEED),
    "AMRules": lambda: rules.AMRules(splitter=tree.splitter.QOSplitter()),
    "BaggingRegressor": lambda: ensemble.BaggingRegressor(_regression_tree(), TREES, seed=SEED),
    "SRPRegressor": lambda: ensemble.SRPRegressor(_regression_tree(), TREES, seed=SEED),
    "EWARegressor": lambda: _scaled(
        ensemble.EWARegressor(
            [linear_model.LinearRegression(optim.SGD(rate)) for rate in (0.01, 0.001)]
        )
    ),
    "GreedyRegressor": lambda: model_selection.GreedyRegressor([_linear(0.01), _linear(0.001)]),
    "SuccessiveHalvingRegressor": lambda: model_selection.SuccessiveHalvingRegressor(
        [_linear(rate) for rate in (0.1, 0.01, 0.001)], metrics.MAE(), budget=500
    ),
    "ChebyshevOverSampler": lambda: imblearn.ChebyshevOverSampler(_linear()),
    "ChebyshevUnderSampler": lambda: imblearn.ChebyshevUnderSampler(_linear(), seed=SEED),
    "HardSamplingRegressor": lambda: imblearn.HardSamplingRegressor(_linear(), 100, 0.2, seed=SEED),
    "PredClipper": lambda: preprocessing.PredClipper(_linear(), 0.0, 100.0),
    "TargetMinMaxScaler": lambda: preprocessing.TargetMinMaxScaler(_linear()),
    "TargetStandardScaler": lambda: preprocessing.TargetStandardScaler(_linear()),
}
CATALOGUE: dict[str, dict[str, Make]] = {
    "binary": BINARY,
    "multi-class": MULTI_CLASS,
    "regression": REGRESSION,
}


CLASSES_ONLY = frozenset({"VotingClassifier", "OneVsOneClassifier", "OutputCodeClassifier"})
"""Classifiers without `predict_proba_one`."""


def predict(name: str, model: Any, x: dict[str, Any]) -> Any:
    """Returns a model's prediction: a number, a class, or the probability of each class."""
    return (
        model.predict_one(x)
        if name in REGRESSION or name in CLASSES_ONLY
        else model.predict_proba_one(x)
    )
