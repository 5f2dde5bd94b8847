"""What each feature adds to the score of a linear model."""

from typing import Any

from stream_app.records import Features

INTERCEPT = "(intercept)"


def contributions(model: Any, features: Features) -> dict[str, float] | None:
    """Weight times value of everything that a chain's logistic regression sees, the largest first; None for others.

    They add up to the logit of the score.

    >>> from math import exp
    >>> from river import linear_model, preprocessing
    >>> model = preprocessing.StandardScaler() | linear_model.LogisticRegression()
    >>> for x in (1.0, 2.0, 3.0):
    ...     model.learn_one({"x": x}, x > 1.5)
    >>> parts = contributions(model, {"x": 3.0})
    >>> list(parts), round(1 / (1 + exp(-sum(parts.values()))) - model.predict_proba_one({"x": 3.0})[True], 12)
    (['x', '(intercept)'], 0.0)
    """
    from river import compose, linear_model

    steps = list(model.steps.values()) if type(model) is compose.Pipeline else [model]
    if type(steps[-1]) is not linear_model.LogisticRegression:
        return None
    seen: Any = features
    for step in steps[:-1]:
        seen = step.transform_one(seen)
    weights = steps[-1].weights
    found = {name: float(value * weights.get(name, 0.0)) for name, value in seen.items()}
    found[INTERCEPT] = float(steps[-1].intercept)
    return dict(sorted(found.items(), key=lambda one: -abs(one[1])))
