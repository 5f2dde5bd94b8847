"""Evaluator: metrics equal those of River, and every example counts once in its window."""

import math
import pickle
import random
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from river import metrics

from stream_app.core.evaluation.classification_metrics import (
    BINARY_METRICS,
    CLASSIFICATION_BASELINES,
    BinaryBaseline,
    BinaryMetrics,
)
from stream_app.core.evaluation.evaluator import ClosedWindow, Evaluator
from stream_app.core.evaluation.prediction_tasks import BinaryTask
from stream_app.core.evaluation.roc_auc import RocAuc
from stream_app.core.examples import Example
from tests.learning import HOUR, examples

RIVER = {
    "log_loss": metrics.LogLoss,
    "accuracy": metrics.Accuracy,
    "precision": metrics.Precision,
    "recall": metrics.Recall,
    "f1": metrics.F1,
    "kappa": metrics.CohenKappa,
}
UNDEFINED_WITHOUT_POSITIVES = {"precision", "recall", "f1", "kappa"}
PREDICTIONS = st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=1, max_size=60)


def sums_of(predictions: list[tuple[bool, float]]) -> BinaryMetrics:
    sums, baseline = BinaryMetrics(), BinaryBaseline()
    for label, score in predictions:
        sums.update(label, score, score >= 0.5, baseline)
        baseline.update(label)
    return sums


def example(label: bool, time: int, score: float = 0.5, version: int = 1) -> Example:
    return Example("e", time, time, label, score, version, {}, "f")


def brute_auc(predictions: list[tuple[bool, float]]) -> float | None:
    pairs = [(p, n) for a, p in predictions if a for b, n in predictions if not b]
    return sum((p > n) + (p == n) / 2 for p, n in pairs) / len(pairs) if pairs else None


@pytest.mark.parametrize("name", RIVER)
@given(predictions=PREDICTIONS)
def test_metrics_equal_those_of_river(name: str, predictions: list[tuple[bool, float]]) -> None:
    theirs = RIVER[name]()
    for label, score in predictions:
        theirs.update(label, score if name == "log_loss" else score >= 0.5)
    found, positives = BINARY_METRICS[name](sums_of(predictions)), {y for y, _ in predictions}
    if found is None:
        assert name in UNDEFINED_WITHOUT_POSITIVES
        assert len(positives) == 1 or all(score < 0.5 for _, score in predictions)
    else:
        assert found == pytest.approx(theirs.get())


@pytest.mark.parametrize(
    ("predictions", "undefined"),
    [
        ([(False, 0.1), (False, 0.9)], {"precision", "recall", "f1", "kappa", "roc_auc"}),
        ([(False, 0.1)], {"precision", "recall", "f1", "kappa", "roc_auc", "kappa_temporal"}),
        ([(True, 0.1), (False, 0.1)], {"precision"}),
        ([(True, 0.9), (True, 0.1)], {"kappa", "roc_auc"}),
        ([(True, 0.9), (False, 0.1)], set()),
    ],
)
def test_a_metric_that_the_labels_alone_decide_is_undefined(
    predictions: list[tuple[bool, float]], undefined: set[str]
) -> None:
    sums = sums_of(predictions)
    found = {name for name, metric in BINARY_METRICS.items() if metric(sums) is None}
    assert found - {"kappa_temporal"} == undefined - {"kappa_temporal"}


def test_a_metric_that_raises_is_reported_and_leaves_the_others() -> None:
    class Broken(BinaryTask):
        metrics: ClassVar[Any] = {**BINARY_METRICS, "f1": lambda sums: 1 // 0}

    evaluator = Evaluator(HOUR, Broken())
    evaluator.add(example(True, 0))
    (closed,) = evaluator.add(example(True, 2 * HOUR))
    assert closed.window.failed == closed.total.failed == {"f1": "ZeroDivisionError"}
    assert closed.window.values["accuracy"] == 1.0
    assert "f1" not in evaluator.metrics()


@given(predictions=PREDICTIONS)
def test_roc_auc_is_the_share_of_pairs_in_order(predictions: list[tuple[bool, float]]) -> None:
    assert BINARY_METRICS["roc_auc"](sums_of(predictions)) == pytest.approx(brute_auc(predictions))


def test_roc_auc_needs_both_classes() -> None:
    assert BINARY_METRICS["roc_auc"](sums_of([(True, 0.3), (True, 0.9)])) is None


def test_roc_auc_by_hand_with_a_tie() -> None:
    assert (
        BINARY_METRICS["roc_auc"](sums_of([(False, 0.1), (False, 0.4), (True, 0.4), (True, 0.8)]))
        == 3.5 / 4
    )


def test_roc_auc_of_binned_scores_is_close_and_bounded() -> None:
    chance = random.Random(1)
    exact, folded = RocAuc(), RocAuc(limit=100)
    for _ in range(5000):
        label = chance.random() < 0.3
        score = chance.betavariate(3 if label else 2, 3)
        exact.add(label, score)
        folded.add(label, score)
    assert len(folded.positives) + len(folded.negatives) <= 100
    assert folded.auc() == pytest.approx(exact.auc(), abs=1e-3)


@given(
    predictions=PREDICTIONS,
    cut=st.integers(0, 60),
    limits=st.tuples(st.integers(1, 60), st.integers(1, 60)),
)
def test_merged_scores_equal_all_scores(
    predictions: list[tuple[bool, float]], cut: int, limits: tuple[int, int]
) -> None:
    first, second, both = RocAuc(limits[0]), RocAuc(limits[1]), RocAuc(limit=1000)
    for i, (label, score) in enumerate(predictions):
        coarse = math.floor(score * 64) / 64  # so that folding into 4,096 bins changes no order
        (first if i < cut else second).add(label, coarse)
        both.add(label, coarse)
    first.merge(second)
    assert first.auc() == pytest.approx(both.auc())


def test_brier_score_by_hand() -> None:
    assert BINARY_METRICS["brier"](sums_of([(True, 0.8), (False, 0.5)])) == pytest.approx(
        (0.04 + 0.25) / 2
    )


def test_kappa_temporal_compares_with_repeating_the_last_label() -> None:
    # Labels 1 1 0 0: repeating is right twice in four, the predictions are right three times.
    sums = sums_of([(True, 0.9), (True, 0.9), (False, 0.1), (False, 0.9)])
    assert BINARY_METRICS["kappa_temporal"](sums) == pytest.approx((0.75 - 0.5) / (1 - 0.5))


def test_kappa_temporal_is_undefined_if_repeating_is_always_right() -> None:
    sums = BinaryMetrics()
    sums.update(True, 0.9, True, BinaryBaseline(seen=1, positives=1, last=True))
    assert BINARY_METRICS["kappa_temporal"](sums) is None


def test_baselines_use_only_earlier_labels() -> None:
    evaluator = Evaluator(HOUR, BinaryTask())
    for time, label in enumerate([True, True, False]):
        evaluator.add(example(label, time))
    found = evaluator.metrics()
    assert found["majority_accuracy"] == pytest.approx(1 / 3)  # False on a tie, then True, True
    assert found["no_change_accuracy"] == pytest.approx(1 / 3)
    assert found["prior_log_loss"] == pytest.approx(
        -(math.log(1 / 2) + math.log(2 / 3) + math.log(1 / 4)) / 3
    )


def test_a_window_closes_a_quarter_of_its_length_after_its_end() -> None:
    evaluator = Evaluator(HOUR, BinaryTask())
    assert evaluator.add(example(True, 10)) == []
    assert evaluator.add(example(True, HOUR + HOUR // 4 - 1)) == []
    (closed,) = evaluator.add(example(True, HOUR + HOUR // 4))
    assert (closed.window.start, closed.window.end, closed.window.n) == (0, HOUR, 1)


def test_a_label_out_of_order_counts_in_its_own_window_while_that_is_open() -> None:
    evaluator = Evaluator(HOUR, BinaryTask())
    evaluator.add(example(True, HOUR + 5))
    evaluator.add(example(True, HOUR - 5))
    (closed,) = evaluator.add(example(True, 2 * HOUR))
    assert (closed.window.start, closed.window.n) == (0, 1)


def test_a_label_for_a_closed_window_counts_in_the_next() -> None:
    evaluator = Evaluator(HOUR, BinaryTask())
    for time in (5, 2 * HOUR, 10):
        evaluator.add(example(True, time))
    # A single time far ahead closes nothing.
    assert evaluator.add(example(True, 9 * HOUR)) == []
    first, second = (closed.window for closed in evaluator.add(example(True, 9 * HOUR)))
    assert (first.start, first.end, first.n) == (HOUR, 2 * HOUR, 1)
    assert (second.start, second.end, second.n) == (2 * HOUR, 3 * HOUR, 1)


def test_a_window_with_assumed_labels_is_reported_without_them_too() -> None:
    evaluator = Evaluator(HOUR, BinaryTask())
    for number, assumed in enumerate((False, True, True)):
        one = example(not assumed, number, score=0.9)
        evaluator.add(replace(one, assumed=assumed))
    assert evaluator.metrics()["accuracy"] == pytest.approx(1 / 3)
    (closed,) = evaluator.add(example(True, 2 * HOUR))
    assert closed.labelled is not None
    assert (closed.window.n, closed.total.n, closed.labelled.n) == (3, 3, 1)
    assert closed.window.values["accuracy"] == pytest.approx(1 / 3)
    assert closed.labelled.values["accuracy"] == 1.0
    (closed,) = evaluator.add(example(True, 4 * HOUR))
    assert closed.labelled is None


def test_a_superseded_version_keeps_its_predictions_with_assumed_labels() -> None:
    evaluator = Evaluator(HOUR, BinaryTask())
    evaluator.add(replace(example(True, 1), assumed=True))
    evaluator.supersede()
    evaluator.add(example(True, 2))
    (closed,) = evaluator.add(example(True, 2 * HOUR))
    assert closed.superseded is not None
    assert (closed.window.n, closed.superseded.n, closed.total.n) == (1, 1, 2)


def test_a_closed_window_has_the_version_of_its_newest_prediction() -> None:
    evaluator = Evaluator(HOUR, BinaryTask())
    evaluator.add(example(True, 1, version=3))
    evaluator.add(example(True, 2, version=7))
    (closed,) = evaluator.add(example(True, 2 * HOUR, version=8))
    assert closed.window.model_version == closed.total.model_version == 7


@given(times=st.lists(st.integers(0, 20 * HOUR), min_size=1, max_size=80))
def test_every_example_counts_exactly_once(times: list[int]) -> None:
    evaluator = Evaluator(HOUR, BinaryTask())
    closed: list[ClosedWindow] = []
    for time in [*times, *[100 * HOUR] * 2, *[200 * HOUR] * 2]:
        closed += evaluator.add(example(True, time))
    assert sum(found.window.n for found in closed) == len(times) + 2
    assert [found.total.n for found in closed][-1] == len(times) + 2
    assert [found.window.start for found in closed] == sorted(
        {found.window.start for found in closed}
    )


def test_a_pickled_evaluator_continues_with_the_same_results() -> None:
    stream = examples(600)
    whole, halves = Evaluator(HOUR, BinaryTask()), Evaluator(HOUR, BinaryTask())
    expected = [closed for one in stream for closed in whole.add(one)]
    found = [closed for one in stream[:250] for closed in halves.add(one)]
    halves = pickle.loads(pickle.dumps(halves))
    found += [closed for one in stream[250:] for closed in halves.add(one)]
    assert found == expected
    assert halves == whole


def test_the_metrics_are_those_of_the_last_closed_window() -> None:
    evaluator = Evaluator(HOUR, BinaryTask())
    assert evaluator.metrics() == {}
    evaluator.add(example(True, 1, score=0.9))
    assert evaluator.metrics()["accuracy"] == 1.0
    evaluator.add(example(True, 2 * HOUR, score=0.1))
    assert evaluator.metrics()["accuracy"] == 1.0
    assert set(evaluator.metrics()) <= {*BINARY_METRICS, *CLASSIFICATION_BASELINES}


def test_windows_before_1970_close_like_later_ones() -> None:
    def closed(start: int) -> list[tuple[int, int, int]]:
        evaluator = Evaluator(HOUR, BinaryTask())
        found: list[ClosedWindow] = []
        for hours in (0, 0, 1, 2, 4):
            found += evaluator.add(example(True, start + hours * HOUR))
        return [(one.window.start - start, one.window.end - start, one.window.n) for one in found]

    assert closed(-3 * HOUR) == closed(100 * HOUR) != []
