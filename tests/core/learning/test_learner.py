"""Learner: evaluation, learning, skipped examples and reports, all as a function of the log."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import asdict, replace
from river import linear_model, optim, preprocessing

from stream_app.core.evaluation.prediction_tasks import (
    BinaryTask,
    MulticlassTask,
    PredictionTask,
    RegressionTask,
)
from stream_app.core.examples import Example, decode_example
from stream_app.core.learning.learner import Learner
from stream_app.model_store.model_loading import LoadedModel
from stream_app.model_store.pickling import dump, load
from stream_app.pipeline import Thresholds
from stream_app.records import Output
from tests.learning import (
    ALL_NAMES,
    FINGERPRINT,
    HOUR,
    examples,
    fits,
    measurements,
    phishing,
    pipeline,
    thresholds,
)


class RejectingModel:
    """Model that rejects some examples."""

    def __init__(self) -> None:
        self.learned = 0

    def learn_one(self, x: dict[str, Any], y: bool) -> None:
        if x["long_url"] == 1.0:
            raise ArithmeticError("too long")
        self.learned += 1


def run(learner: Learner, stream: list[Example]) -> list[Output]:
    return [output for offset, one in enumerate(stream) for output in learner.learn(offset, one)]


def accuracy_with_immediate_labels(rate: float) -> float:
    """Return the accuracy of logistic regression over the phishing data with immediate labels.

    River predicts True above one half, this program at one half; hence the next larger threshold.
    """
    learner = Learner(
        pipeline(
            lambda: (
                preprocessing.StandardScaler() | linear_model.LogisticRegression(optim.SGD(rate))
            ),
            thresholds=Thresholds(decision=math.nextafter(0.5, 1)),
        ),
        FINGERPRINT,
    )
    model = LoadedModel("p", 0, FINGERPRINT, learner.state.learned.model, BinaryTask())
    for offset, (x, label) in enumerate(phishing()):
        learner.learn(offset, Example("e", 0, 0, label, model.score(x), 0, x, FINGERPRINT))
    return learner.state.evaluator.metrics()["accuracy"]


@pytest.mark.parametrize(("rate", "published"), [(0.005, 0.8872), (0.01, 0.8928)])
def test_immediate_labels_give_the_accuracy_that_river_publishes(
    rate: float, published: float
) -> None:
    assert accuracy_with_immediate_labels(rate) == published


def test_the_last_label_baseline_equals_the_one_that_river_publishes() -> None:
    learner = Learner(pipeline(), FINGERPRINT)
    run(learner, [Example("e", 0, 0, y, 0.5, 0, x, FINGERPRINT) for x, y in phishing()])
    assert learner.state.evaluator.metrics()["no_change_accuracy"] == pytest.approx(
        0.515612, abs=5e-4
    )


def test_a_closed_window_reports_metrics_totals_and_baselines() -> None:
    found = measurements(run(Learner(pipeline(), FINGERPRINT), examples(800)))
    first = [(one["kind"], one["name"]) for one in found if one["window"]["end"] == 6 * HOUR]
    assert first == [
        ("performance", "log_loss"),
        ("cumulative", "log_loss"),
        ("performance", "roc_auc"),
        ("cumulative", "roc_auc"),
        ("performance", "accuracy"),
        ("cumulative", "accuracy"),
        ("baseline", "majority_accuracy"),
        ("baseline", "no_change_accuracy"),
        ("baseline", "prior_log_loss"),
    ]
    assert all(one["pipeline"] == "p" for one in found)
    totals = [
        one["n"] for one in found if one["kind"] == "cumulative" and one["name"] == "accuracy"
    ]
    assert totals == sorted(totals)
    assert totals[0] < totals[-1]


def test_a_metric_beyond_its_threshold_is_breached() -> None:
    declared = pipeline(thresholds=thresholds(accuracy=0.9, log_loss=0.1, roc_auc=0.0))
    found = measurements(run(Learner(declared, FINGERPRINT), examples(800)))
    checks = {
        (one["name"], one["threshold"], one["breached"])
        for one in found
        if one["kind"] == "performance"
    }
    assert checks == {("accuracy", 0.9, True), ("log_loss", 0.1, True), ("roc_auc", 0.0, False)}


def test_a_metric_of_a_window_has_an_interval_and_a_total_has_none() -> None:
    found = measurements(
        run(Learner(pipeline(metrics=("log_loss", "f1")), FINGERPRINT), examples(800))
    )
    windows = [one for one in found if one["kind"] == "performance"]
    assert {one["name"] for one in windows} == {"log_loss", "f1"}
    for one in windows:
        if one["name"] == "f1":
            assert one["interval"] is None
        else:
            assert 0 < one["interval"]["low"] < one["value"] < one["interval"]["high"]
    assert all(one["interval"] is None for one in found if one["kind"] != "performance")


def test_an_example_that_the_model_rejects_is_counted_and_reported_once() -> None:
    learner = Learner(pipeline(RejectingModel), FINGERPRINT)
    stream = examples(700)
    rejected = [offset for offset, one in enumerate(stream) if one.features["long_url"] == 1.0]
    found = [one for one in measurements(run(learner, stream)) if one["kind"] == "unlearnable"]
    state = learner.state
    assert (state.unlearnable, state.learned.examples, state.learned.model.learned) == (
        len(rejected),
        700 - len(rejected),
        state.learned.examples,
    )
    assert (found[0]["name"], found[0]["reference"]) == ("ArithmeticError", f"offset {rejected[0]}")
    totals = sum(one["n"] for one in found if one["reference"] is None) + sum(
        state.failures.values()
    )
    assert totals == len(rejected)


def test_an_example_of_another_declaration_is_evaluated_but_not_learned() -> None:
    learner = Learner(pipeline(), "f2")
    (found,) = measurements(run(learner, examples(3)))
    assert (found["kind"], found["name"]) == ("unlearnable", "fingerprint")
    assert (
        learner.state.learned.examples,
        learner.state.unlearnable,
        learner.state.evaluator.baseline.seen,
    ) == (0, 3, 3)


def test_the_largest_label_time_is_kept() -> None:
    learner, stream = Learner(pipeline(), FINGERPRINT), examples(50)
    run(learner, stream)
    assert learner.state.learned.max_label_time == max(one.label_time for one in stream)


def test_a_learner_continues_from_a_checkpoint_with_the_same_results() -> None:
    stream = examples(1500, seed=4)
    whole, halves = Learner(pipeline(), FINGERPRINT), Learner(pipeline(), FINGERPRINT)
    expected = run(whole, stream)
    found = run(halves, stream[:700])
    halves = Learner(pipeline(), FINGERPRINT, load(dump(halves.state), ALL_NAMES))
    found += [
        output for offset in range(700, 1500) for output in halves.learn(offset, stream[offset])
    ]
    assert found == expected
    rows = [x for x, _ in phishing()]
    predict = halves.state.learned.model.predict_proba_one
    assert [predict(x) for x in rows] == [
        whole.state.learned.model.predict_proba_one(x) for x in rows
    ]


def test_a_restored_learner_uses_the_current_declaration() -> None:
    before = Learner(pipeline(), FINGERPRINT).state
    declared = pipeline(thresholds=Thresholds(decision=0.3))
    after = Learner(declared, FINGERPRINT, before).state
    assert after.evaluator.task == BinaryTask(0.3)


def test_examples_conform_to_the_published_schema() -> None:
    one = examples(1)[0]
    assert fits("example", {"kind": "example", **asdict(one)})


@pytest.mark.parametrize(
    "wrong",
    [
        {"label": 1},
        {"label_time": "now"},
        {"event_time": 0.5},
        {"model_version": None},
        {"features": []},
        {"score": True},
    ],
)
def test_an_example_with_wrong_types_is_detected(wrong: dict[str, Any]) -> None:
    assert decode_example(replace(examples(1)[0], **wrong).encode(), BinaryTask()) == "wrong-type"


@given(value=st.binary())
def test_decoding_an_example_never_raises(value: bytes) -> None:
    assert isinstance(decode_example(value, BinaryTask()), str | Example)


NUMBERS = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
SCALARS = NUMBERS | st.booleans() | st.text(max_size=3) | st.none()
VALUES = SCALARS | st.dictionaries(st.text(max_size=3), SCALARS, max_size=3) | st.lists(SCALARS)


@given(
    changed=st.dictionaries(st.sampled_from([*asdict(examples(1)[0]), "kind", "other"]), VALUES),
    removed=st.none() | st.sampled_from([*asdict(examples(1)[0]), "kind"]),
    task=st.sampled_from([BinaryTask(), MulticlassTask(), RegressionTask()]),
)
def test_the_fast_path_decodes_examples_as_the_other_one_does(
    changed: dict[str, Any], removed: str | None, task: PredictionTask
) -> None:
    fields = {"kind": "example", **asdict(examples(1)[0]), **changed}
    fields.pop(removed or "", None)
    # Integers of more than 64 bits become floats, as other programs may write them.
    value = json.dumps(fields, separators=(",", ":")).encode()
    found = decode_example(value, task)
    # A space keeps the value from the fast path.
    assert repr(found) == repr(decode_example(b" " + value, task))


@pytest.mark.parametrize(
    "rest", [b'"\xff"', b"1e400", b'"\\ud800"', b"01", b"[1e400]", b'{"kind":1}', b"1}"]
)
@pytest.mark.parametrize("name", ["other", "features", "score", "kind", "event_id"])
def test_the_fast_path_accepts_no_malformed_json(name: str, rest: bytes) -> None:
    value = b'%b,"%b":%b}' % (examples(1)[0].encode()[:-1], name.encode(), rest)
    assert repr(decode_example(value, BinaryTask())) == repr(
        decode_example(b" " + value, BinaryTask())
    )
