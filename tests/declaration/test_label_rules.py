"""Values of a label that mean true and false: what may be declared, and what a label then means."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from river import linear_model

from stream_app.core.evaluation.prediction_tasks import BinaryTask, RegressionTask, task_of
from stream_app.core.reading.record_reader import LabelEvent, LabelReader
from stream_app.declaration.pipeline_fingerprint import fingerprint
from stream_app.declaration.validation import check_model
from stream_app.errors import PipelineError
from stream_app.loading import complete
from stream_app.pipeline import Pipeline
from stream_app.records import Failure
from stream_app.testing import PipelineHarness
from tests.small_pipeline import NOW, event, label, labelled, record, small_pipeline

ENUM = {"type": "enum", "name": "Verdict2", "symbols": ["fraud", "ok"]}
THREE = {"type": "enum", "name": "Verdict3", "symbols": ["fraud", "theft", "ok"]}


def declared(avro_type: Any, **changes: Any) -> Pipeline:
    return small_pipeline(label=replace(labelled(avro_type), **changes))


@pytest.mark.parametrize(
    ("avro_type", "changes", "true", "false", "unknown"),
    [
        ("int", {"positive": 1}, [1], [0], [2, -1]),
        ("long", {"positive": (2, 3)}, [2, 3], [0], [1]),
        ("int", {"positive": 1, "negative": -1}, [1], [-1], [0]),
        ("int", {"positive": 0, "negative": (1, 2)}, [0], [1, 2], [3]),
        ("double", {"positive": 1}, [1, 1.0], [0, 0.0], [0.5]),
        ("string", {"positive": "yes", "negative": "no"}, ["yes"], ["no"], ["Yes", "", "maybe"]),
        (ENUM, {"positive": "fraud"}, ["fraud"], ["ok"], []),
        (THREE, {"positive": ("fraud", "theft"), "negative": "ok"}, ["fraud", "theft"], ["ok"], []),
        (THREE, {"positive": "fraud", "negative": "ok"}, ["fraud"], ["ok"], ["theft"]),
    ],
)
def test_a_value_means_true_or_false_or_is_rejected(
    avro_type: Any, changes: dict[str, Any], true: list[Any], false: list[Any], unknown: list[Any]
) -> None:
    pipeline = complete(declared(avro_type, **changes))
    assert task_of(pipeline) == BinaryTask(0.5)
    assert pipeline.metrics == BinaryTask.default_metrics
    reader = LabelReader(pipeline)
    for values, meaning in ((true, True), (false, False)):
        for value in values:
            read = reader.read(record(label(1, fraud=value, known_at=NOW)), NOW)
            assert read == LabelEvent("e1", meaning, NOW)
            assert type(read.label) is bool
    for value in unknown:
        read = reader.read(record(label(1, fraud=value, known_at=NOW)), NOW)
        assert read == Failure(
            "label-unknown", "field fraud has a value that means neither true nor false"
        )


def test_a_boolean_is_no_number_of_a_label() -> None:
    reader = LabelReader(complete(declared("int", positive=1)))
    read = reader.read(record(label(1, fraud=True, known_at=NOW)), NOW)
    assert isinstance(read, Failure)
    assert read.code == "wrong-type"


@pytest.mark.parametrize(
    ("avro_type", "changes", "expected"),
    [
        ("boolean", {"positive": "yes"}, "label.positive is declared, but label.field 'fraud' is"),
        ("int", {"negative": 0}, "label.negative is declared without label.positive"),
        ("int", {"positive": ()}, "label.positive is empty"),
        ("int", {"positive": "1"}, "label.positive has '1', which label.field 'fraud' of type int"),
        ("int", {"positive": True}, "label.positive has True, which label.field"),
        ("int", {"positive": 1.0}, "label.positive has 1.0, which"),
        ("double", {"positive": float("nan")}, "label.positive has nan, which"),
        ("int", {"positive": [1]}, "label.positive has [1], which"),
        (ENUM, {"positive": "Fraud"}, "label.positive has 'Fraud', which"),
        ("string", {"positive": "yes"}, "label.negative is missing: it is not clear which value"),
        ("int", {"positive": 0}, "label.negative is missing"),
        (THREE, {"positive": "fraud"}, "label.negative is missing"),
        ("int", {"positive": 1, "negative": (0, 1)}, "have a value in common"),
        ("int", {"positive": 1, "delay": timedelta(days=9)}, "label.delay is negative or longer"),
        ("int", {"positive": 1, "absent": 0}, "Give True or False: what the label means"),
        ("int", {"positive": 1, "delay": 3}, "label.delay is of type int"),
    ],
)
def test_a_wrong_declaration_is_rejected(
    avro_type: Any, changes: dict[str, Any], expected: str
) -> None:
    with pytest.raises(PipelineError) as raised:
        complete(declared(avro_type, **changes))
    assert expected in str(raised.value)
    assert raised.value.remedy


def test_a_classifier_of_a_number_asks_for_positive() -> None:
    assert task_of(declared("int")) == RegressionTask()
    with pytest.raises(PipelineError, match="Add positive=1 to Label"):
        check_model(declared("int"))
    check_model(complete(declared("int", positive=1)))


def test_a_classifier_of_two_classes_with_text_asks_for_positive() -> None:
    with pytest.raises(PipelineError, match='add positive="yes", negative="no" to Label'):
        check_model(replace(declared("string"), model=linear_model.LogisticRegression))


def test_the_fingerprint_covers_the_meaning_and_not_how_it_is_written() -> None:
    zero = fingerprint(complete(declared("int", positive=1)))
    assert zero == fingerprint(complete(declared("int", positive=(1,), negative=0)))
    others: list[dict[str, Any]] = [
        {"positive": 2},
        {"positive": 1, "negative": 2},
        {"positive": (1, 2)},
    ]
    assert zero not in {fingerprint(complete(declared("int", **one))) for one in others}
    # A delay is for files; what the workers compute is the same.
    assert zero == fingerprint(complete(declared("int", positive=1, delay=timedelta(hours=1))))


def test_labels_of_zero_and_one_are_learned_like_booleans() -> None:
    numbers = PipelineHarness(declared("int", positive=1))
    booleans = PipelineHarness(small_pipeline())
    for number in range(200):
        truth = number % 3 == 0
        numbers.event(event(number)), booleans.event(event(number))
        assert numbers.label(label(number, fraud=int(truth))).kind == "joined"
        booleans.label(label(number, fraud=truth))
    assert numbers.metrics == booleans.metrics
    assert numbers.learned == 200
    numbers.event(event(500))
    assert numbers.label(label(500, fraud=2)).error_code == "label-unknown"


def test_an_absent_label_is_given_by_its_meaning() -> None:
    assert complete(declared("int", positive=1, absent=False)).label.absent is False
