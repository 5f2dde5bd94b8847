"""Transformers: target encoding that decays, is shrunk and bounded; feature selection in order."""

import copy

import pytest
from river import compose, linear_model, preprocessing

from stream_app.model_store.pickling import dump, load
from stream_app.transformers import Pick, TargetRate
from tests.learning import ALL_NAMES, phishing


def rate_of(transformer: TargetRate, **x: object) -> float:
    (rate,) = transformer.transform_one(x).values()
    return float(rate)


def test_the_rate_equals_a_calculation_by_hand() -> None:
    rate = TargetRate(["a"], half_life=1, prior_weight=2, prior_half_life=2)
    rate.learn_one({"a": "x"}, True)
    rate.learn_one({"a": "x"}, False)
    keep = 0.5**0.5
    prior = ((0.5 * keep + 1) * keep) / ((keep + 1) * keep + 1)
    assert rate_of(rate, a="x") == pytest.approx((0.5 + 2 * prior) / (1.5 + 2))
    assert rate_of(rate, a="unseen") == pytest.approx(prior)


def test_the_rate_of_a_category_follows_its_recent_labels() -> None:
    rate = TargetRate(["a"], half_life=10, prior_weight=1)
    for label in [True] * 200 + [False] * 40:
        rate.learn_one({"a": 1}, label)
    assert rate_of(rate, a=1) < 0.15


def test_a_combination_of_features_is_a_category_even_if_one_is_missing() -> None:
    rate = TargetRate(["a", "b"], prior_weight=1)
    for _ in range(50):
        rate.learn_one({"a": 1, "b": 1}, True)
        rate.learn_one({"a": 1}, False)
    assert rate.transform_one({"a": 1, "b": 1}).keys() == {"rate_by_a_and_b"}
    assert rate_of(rate, a=1, b=1) > 0.9 > 0.1 > rate_of(rate, a=1)


def test_the_least_recently_learned_category_is_dropped() -> None:
    rate = TargetRate(["a"], prior_weight=1, max_keys=2)
    for value in ("x", "y", "x", "z"):
        rate.learn_one({"a": value}, value == "y")
    assert rate_of(rate, a="y") == rate_of(rate, a="unseen")
    assert rate_of(rate, a="x") != rate_of(rate, a="unseen")


def test_predicting_does_not_change_the_transformer() -> None:
    rate = TargetRate(["a"])
    rate.learn_one({"a": 1}, True)
    before = dump(rate)
    for value in range(1000):
        rate.transform_one({"a": value})
    assert dump(rate) == before


def test_copies_and_pickles_are_equal_and_independent() -> None:
    rate = TargetRate(["a"])
    rate.learn_one({"a": 1}, True)
    for twin in (copy.deepcopy(rate), load(dump(rate), ALL_NAMES)):
        assert twin.transform_one({"a": 1}) == rate.transform_one({"a": 1})
        twin.learn_one({"a": 1}, False)
        assert twin.transform_one({"a": 1}) != rate.transform_one({"a": 1})


def test_a_transformer_learns_in_a_pipeline_and_in_a_union() -> None:
    alone = (
        TargetRate(["age_of_domain"])
        | preprocessing.StandardScaler()
        | linear_model.LogisticRegression()
    )
    union = (
        TargetRate(["age_of_domain"]) + compose.Select("long_url")
        | linear_model.LogisticRegression()
    )
    for model in (alone, union):
        for x, y in phishing()[:100]:
            model.learn_one(x, y)
    assert set(alone["LogisticRegression"].weights) == {"rate_by_age_of_domain"}
    assert set(union["LogisticRegression"].weights) == {"rate_by_age_of_domain", "long_url"}


def test_a_clone_has_learned_nothing() -> None:
    rate = TargetRate(["a"])
    rate.learn_one({"a": 1}, True)
    assert rate_of(rate.clone(), a=1) == 0.5


@pytest.mark.parametrize("wrong", [{"half_life": 0}, {"prior_weight": -1}, {"max_keys": 0}])
def test_parameters_that_are_not_positive_are_rejected(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="positive"):
        TargetRate(["a"], **wrong)  # type: ignore[arg-type]  # invalid on purpose


def test_a_single_feature_name_is_rejected() -> None:
    with pytest.raises(TypeError, match="list of feature names"):
        TargetRate("carrier")


def test_selected_features_keep_their_order_after_unpickling() -> None:
    names = [f"f{number}" for number in range(50)]
    pick = load(dump(Pick(names)), ALL_NAMES)
    assert list(pick.transform_one(dict.fromkeys(reversed(names), 1.0))) == names
