"""A folded model has the scores and exceptions of the original, bit for bit."""

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from river import compose, linear_model, optim, preprocessing

from stream_app.core.evaluation.prediction_tasks import BinaryTask
from stream_app.model_store.linear_folding import fold
from stream_app.model_store.model_loading import LoadedModel
from stream_app.records import Features
from stream_app.transformers import Pick
from tests.learning import FINGERPRINT

NAMES = ("a", "b", "c", "d", "e", "f", "g", "constant")
numbers = (
    st.floats(allow_nan=False, allow_infinity=False)
    | st.integers(-(2**63), 2**63 - 1)
    | st.booleans()
)
features = st.dictionaries(
    st.sampled_from((*NAMES, "never seen")), numbers | st.floats(-9, 9) | st.text(max_size=2)
)


def score(model: LoadedModel, x: Features) -> str:
    """Return every digit of the score, or the exception."""
    try:
        return repr(model.score(x))
    except Exception as error:
        return repr(error)


def trained(start: Any, seed: int, size: int, scale: float, shape: int) -> Any:
    """Return a model trained on some of the features, in any order, one of them constant."""
    chance = Random(seed)
    model = start | linear_model.LogisticRegression(optim.SGD(10.0 ** chance.randint(-3, 2)))
    for _ in range(size):
        seen = NAMES if shape else chance.sample(NAMES, chance.randint(1, len(NAMES)))
        x = {name: 5.0 if name == "constant" else chance.gauss(0, scale) for name in seen}
        model.learn_one(x, chance.random() < 0.5)
    return model


@given(
    st.integers(0, 2**32),
    st.integers(0, 25),
    st.sampled_from([1e-3, 1.0, 1e6, 1e150]),
    st.booleans(),
    st.lists(features, min_size=1, max_size=20),
)
def test_a_folded_model_scores_like_river(
    seed: int, size: int, scale: float, picks: bool, rows: list[Features]
) -> None:
    names = Random(seed).choices(NAMES[:-1], k=5)
    scaler = preprocessing.StandardScaler()
    model = trained(Pick(names) | scaler if picks else scaler, seed, size, scale, shape=picks)
    live, frozen = (
        LoadedModel("p", 0, FINGERPRINT, model, BinaryTask(), frozen=is_frozen)
        for is_frozen in (False, True)
    )
    for x in rows:
        assert score(frozen, x) == score(live, x)


def test_scaled_logistic_regressions_are_folded() -> None:
    scaler = preprocessing.StandardScaler
    assert fold(trained(scaler(), 1, 20, 1.0, shape=1)) is not None
    assert fold(trained(Pick(["a", "b"]) | scaler(), 1, 20, 1.0, shape=1)) is not None


class OtherScaler(preprocessing.StandardScaler):  # type: ignore[misc]  # River's classes are not checked
    """Subclass with unknown behaviour."""


def broken(weight: float) -> Any:
    """Return a model with the given weight."""
    model = trained(preprocessing.StandardScaler(), 1, 20, 1.0, shape=1)
    model["LogisticRegression"]._weights["a"] = weight
    return model


@pytest.mark.parametrize(
    "make",
    [
        linear_model.LogisticRegression,
        lambda: preprocessing.MinMaxScaler() | linear_model.LogisticRegression(),
        lambda: OtherScaler() | linear_model.LogisticRegression(),
        lambda: preprocessing.StandardScaler(with_std=False) | linear_model.LogisticRegression(),
        lambda: preprocessing.StandardScaler(window_size=5) | linear_model.LogisticRegression(),
        lambda: (
            preprocessing.StandardScaler()
            | linear_model.LogisticRegression(loss=optim.losses.Hinge())
        ),
        lambda: (
            compose.Select("a") | preprocessing.StandardScaler() | linear_model.LogisticRegression()
        ),
        lambda: preprocessing.StandardScaler() | linear_model.ALMAClassifier(),
        lambda: broken(float("inf")),
        lambda: broken(float("nan")),
        lambda: trained(
            Pick(["a", "constant"]) | preprocessing.StandardScaler(), 1, 20, 1.0, shape=1
        ),
    ],
)
def test_other_models_are_not_folded(make: Callable[[], Any]) -> None:
    assert fold(make()) is None
