"""Folding of linear models for scoring.

A frozen scaler and linear model are folded to one sum, in half of River's time. The sum has River's
operations in River's order, so the scores are bit for bit the same: River visits the features in
their order, standardises each one and multiplies it by its weight. A feature without variance
contributes nothing.
"""

from collections.abc import Callable, Mapping
from math import exp, isfinite
from typing import Any

from stream_app.records import Features

# Logit beyond which River's sigmoid is 0 or 1.
_EXTREME_LOGIT = 30.0

Folded = Callable[[Features], float]


def fold(model: Any) -> Folded | None:
    """Return a function of the probability of true, or None if the model cannot be folded.

    Folds River's `StandardScaler` and `LogisticRegression` with the log loss, with or without a
    `Pick` before them: exactly these classes, and only finite numbers. The function is valid as
    long as the model does not learn.
    """
    from river import compose, linear_model, optim, preprocessing

    from stream_app.transformers import Pick

    steps = list(model.steps.values()) if type(model) is compose.Pipeline else []
    pick = steps.pop(0) if len(steps) == 3 and type(steps[0]) is Pick else None
    if [type(step) for step in steps] != [
        preprocessing.StandardScaler,
        linear_model.LogisticRegression,
    ]:
        return None
    scaler, regression = steps
    if (
        not scaler.with_std
        or scaler.window_size is not None
        or type(regression.loss) is not optim.losses.Log
    ):
        return None
    weights, variances = regression.weights, scaler.vars
    if not all(
        map(
            isfinite,
            (*weights.values(), *scaler.means.values(), *variances.values(), regression.intercept),
        )
    ):
        return None
    if any(variance < 0.0 for variance in variances.values()):
        return None
    terms = {
        name: (scaler.means[name], variance**0.5, weights.get(name, 0.0))
        for name, variance in variances.items()
        if variance
    }
    if pick is None:
        return _sum(terms, regression.intercept)
    return (
        _sum_of_picked(pick.names, terms, regression.intercept)
        if terms.keys() >= set(pick.names)
        else None
    )


def _sum(terms: Mapping[str, tuple[float, float, float]], intercept: float) -> Folded:
    """Return the function for all features.

    Args:
        terms: mean, standard deviation and weight by feature.
        intercept: intercept of the regression.
    """

    def probability(features: Features) -> float:
        logit = 0.0
        for name, value in features.items():
            if name in terms:
                mean, deviation, weight = terms[name]
                # Text raises the same TypeError as in River.
                logit += (value - mean) / deviation * weight  # type: ignore[operator]
        return _sigmoid(logit + intercept)

    return probability


def _sum_of_picked(
    names: tuple[str, ...], terms: Mapping[str, tuple[float, float, float]], intercept: float
) -> Folded:
    picked = tuple(dict.fromkeys(names))
    of_picked = [terms[name] for name in picked]

    def probability(features: Features) -> float:
        logit = 0.0
        values = [features[name] for name in picked]
        for value, (mean, deviation, weight) in zip(values, of_picked, strict=True):
            # Text raises the same TypeError as in River.
            logit += (value - mean) / deviation * weight  # type: ignore[operator]
        return _sigmoid(logit + intercept)

    return probability


def _sigmoid(logit: float) -> float:
    if logit < -_EXTREME_LOGIT:
        return 0.0
    return 1.0 if logit > _EXTREME_LOGIT else 1.0 / (1.0 + exp(-logit))
