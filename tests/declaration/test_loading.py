"""Loading a pipeline: files and modules, schemas, and the message of each invalid declaration."""

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stream_app.errors import PipelineError
from stream_app.loading import load_pipeline

EVENT = {
    "type": "record",
    "name": "Payment",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "amount", "type": ["null", "double"]},
        {"name": "flag", "type": "boolean"},
    ],
}
LABEL = {
    "type": "record",
    "name": "Verdict",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "fraud", "type": "boolean"},
        {"name": "maybe", "type": ["null", "boolean"]},
        {"name": "known_at", "type": "long"},
        {"name": "how", "type": {"type": "enum", "name": "How", "symbols": ["stolen", "forged"]}},
        {"name": "proof", "type": "bytes"},
        {"name": "either", "type": ["boolean", "string"]},
    ],
}
SOURCE = """
from datetime import timedelta
from river import dummy, linear_model, preprocessing
from stream_app import Alarms, Breaker, Fallback, Label, Pipeline, Retry, Threshold, Thresholds
from stream_app.cleaning import Impute, Rename

class Scale:
    def __call__(self, fields):
        return {}

def features(fields):
    return {"amount": fields["amount"]}

def model():
    return preprocessing.StandardScaler() | linear_model.LogisticRegression()

def broken():
    raise RuntimeError("no model today")

SHARED = linear_model.LogisticRegression()

pipeline = Pipeline(
    name="payments",
    schema="payment.avsc",
    event_id="id",
    event_time="at",
    clean=(Impute("amount", 0.0),),
    features=features,
    model=model,
    label=Label(schema="verdict.avsc", field="fraud", time="known_at", horizon=timedelta(hours=1)),
)
"""

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Return a function that writes the pipeline above, with replacements, beside its schemas."""
    monkeypatch.setattr(sys, "path", sys.path.copy())
    (tmp_path / "payment.avsc").write_text(json.dumps(EVENT))
    (tmp_path / "verdict.avsc").write_text(json.dumps(LABEL))

    def write(*replacements: tuple[str, str], name: str = "payments.py") -> Path:
        source = SOURCE
        for old, new in replacements:
            assert old in source
            source = source.replace(old, new)
        path = tmp_path / name
        path.write_text(source)
        return path

    return write


def error_of(spec: object) -> str:
    """Return the error message of a pipeline that does not load."""
    with pytest.raises(PipelineError) as raised:
        load_pipeline(str(spec))
    assert raised.value.remedy
    assert not raised.value.remedy.endswith(".")
    return str(raised.value)


def test_a_file_is_loaded_with_its_schemas_and_default_key(write: Write) -> None:
    pipeline = load_pipeline(str(write()))
    assert pipeline.name == "payments"
    assert pipeline.schema == EVENT
    assert pipeline.label.schema == LABEL
    assert pipeline.key == "id"


def test_schemas_are_found_relative_to_the_pipeline_file(
    write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert load_pipeline("../payments.py").schema == EVENT


def test_a_schema_can_be_a_dict(write: Write) -> None:
    assert load_pipeline(str(write(('"payment.avsc"', repr(EVENT))))).schema == EVENT


def test_the_only_pipeline_of_a_file_is_the_default(write: Write) -> None:
    assert load_pipeline(str(write(("pipeline = ", "fraud = ")))).name == "payments"


def test_one_of_several_pipelines_is_selected_by_name(write: Write) -> None:
    source = ("pipeline = Pipeline(", "def make(name): return Pipeline(")
    path = write(source, ('"payments"', "name"))
    path.write_text(path.read_text() + "\na = make('first')\nb = make('second')\n")
    assert load_pipeline(f"{path}:b").name == "second"
    assert "Choose from a, b" in error_of(path)
    assert "Choose from a, b" in error_of(f"{path}:c")
    assert "Choose from a, b" in error_of(f"{path}:make")


def test_the_attribute_pipeline_is_the_default(write: Write) -> None:
    path = write()
    path.write_text(
        path.read_text()
        + "\nimport dataclasses\nother = dataclasses.replace(pipeline, name='other')\n"
    )
    assert load_pipeline(str(path)).name == "payments"


def test_a_module_is_loaded_by_name(
    write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write(name="named_by_module.py")
    monkeypatch.chdir(tmp_path)
    assert load_pipeline("named_by_module").schema == EVENT
    assert load_pipeline("named_by_module:pipeline").name == "payments"


def test_a_pipeline_can_import_modules_from_its_folder(write: Write, tmp_path: Path) -> None:
    (tmp_path / "beside_the_pipeline.py").write_text("NAME = 'imported'")
    path = write(
        ('name="payments"', "name=beside_the_pipeline.NAME"),
        ("from datetime", "import beside_the_pipeline\nfrom datetime"),
    )
    assert load_pipeline(str(path)).name == "imported"


def test_a_file_is_loaded_again_only_if_its_text_has_changed(write: Write) -> None:
    path = write()
    first = load_pipeline(str(path))
    assert load_pipeline(str(path)).features is first.features
    write(('name="payments"', 'name="renamed"'))
    assert load_pipeline(str(path)).name == "renamed"


def test_objects_of_a_pipeline_can_be_unpickled_in_another_process(write: Write) -> None:
    path = write(("clean=(", "clean=(Scale(), "), name="with-dash.py")
    pickled = pickle.dumps(load_pipeline(str(path)).clean[0])
    script = (
        "import pickle, sys; from stream_app.loading import load_pipeline;"
        "load_pipeline(sys.argv[1]);"
        "print(type(pickle.loads(bytes.fromhex(sys.argv[2]))).__name__)"
    )
    command = [sys.executable, "-c", script, str(path), pickled.hex()]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    assert (
        subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
        == "Scale\n"
    )


def test_a_file_that_fails_to_load_leaves_no_module(write: Write) -> None:
    path = write(name="forgotten.py")
    path.write_text("1 / 0")
    error_of(path)
    assert "stream_app_pipeline_forgotten" not in sys.modules


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = 1\ndef broken(:\n", "payments.py:2: invalid syntax. Correct the syntax"),
        (
            "import no_such_package",
            "payments.py:1: No module named 'no_such_package'. Install the package",
        ),
        ("x = 1\nx.y", "payments.py:2: AttributeError: 'int' object has no attribute 'y'"),
        ("import sys\nsys.exit(3)", "payments.py:2: SystemExit: 3"),
        ("x = 1", "has no pipelines. Declare pipeline = stream_app.Pipeline(...)"),
        ("\0", "payments.py: source code string cannot contain null bytes"),
        ("\ufeffx = 1", "has no pipelines"),
    ],
)
def test_an_error_in_a_file_is_reported_with_its_line(
    write: Write, text: str, expected: str
) -> None:
    path = write()
    path.write_text(text)
    assert expected in error_of(path)


def test_a_name_that_is_neither_file_nor_module_is_rejected(tmp_path: Path) -> None:
    assert "absent.py cannot be read" in error_of(tmp_path / "absent.py")
    assert "no_such_module: No module named 'no_such_module'" in error_of("no_such_module")
    assert "is neither a Python file nor a module" in error_of("some/folder")
    assert "is neither a Python file nor a module" in error_of("")


INVALID_DECLARATIONS = [
    ('name="payments"', 'name="Payments"', "name 'Payments' cannot begin the names of topics"),
    ('name="payments"', 'name="-x"', "name '-x'"),
    ('name="payments"', "name=5", "name is of type int. Give name as a string"),
    ('"payment.avsc"', '"absent.avsc"', "absent.avsc cannot be read: No such file"),
    ('"payment.avsc"', '"payments.py"', "payments.py is not JSON"),
    ('"payment.avsc"', "5", "schema is int, not an Avro record"),
    (
        '"payment.avsc"',
        '{"type": "string"}',
        "schema is not an Avro record: the schema is not a record",
    ),
    ('"payment.avsc"', '{"type": "record", "name": "R"}', "schema is not an Avro record"),
    (
        '"payment.avsc"',
        '{"type": "record", "name": "R", "fields": [{"name": "f", "type": "text"}]}',
        "text",
    ),
    (
        '"payment.avsc"',
        '{"type": "record", "name": "R", "fields": '
        '[{"name": "id", "type": "int", "default": "x"}]}',
        "the default of field id does not fit its type",
    ),
    ('"verdict.avsc"', '"payment.avsc"', "label.time 'known_at' is not a field of label.schema"),
    (
        '"verdict.avsc"',
        '{"type": "record", "name": "R", "fields": []}',
        "event_id 'id' is not a field of label.schema",
    ),
    (
        'event_id="id"',
        'event_id="uid"',
        "event_id 'uid' is not a field of schema. Choose from id, at, amount, flag",
    ),
    (
        'event_id="id"',
        'event_id="flag"',
        "event_id 'flag' has type boolean in schema. Declare the field as enum, int",
    ),
    ('event_id="id"', 'event_id="id", key="amount"', "key 'amount' has type double in schema"),
    ('event_id="id"', 'event_id="id", key="user"', "key 'user' is not a field of schema"),
    ('event_id="id"', "event_id=None", "event_id is of type NoneType"),
    (
        'event_time="at"',
        'event_time="flag"',
        "event_time 'flag' has type boolean in schema. Declare the field as long",
    ),
    ('event_time="at"', 'event_time="when"', "event_time 'when' is not a field of schema"),
    (
        'field="fraud"',
        'field="proof"',
        "label.field 'proof' has type bytes in label.schema. Declare the",
    ),
    (
        'field="fraud"',
        'field="either"',
        "label.field 'either' is of several types in label.schema. Declare it",
    ),
    (
        'field="fraud"',
        'field="how"',
        "model() made a LogisticRegression, which tells only two classes apart. Wrap",
    ),
    (
        'field="fraud"',
        'field="known_at"',
        "model() made a LogisticRegression, a classifier, but the label's field is a number. "
        "Add positive=1 to Label if 1 and 0 mean true and false",
    ),
    ('field="fraud"', 'field="maybe"', "label.field 'maybe' may be null"),
    ('field="fraud"', 'field="spam"', "label.field 'spam' is not a field of label.schema"),
    ('time="known_at"', 'time="fraud"', "label.time 'fraud' has type boolean"),
    ("hours=1", "hours=0", "label.horizon is not positive"),
    (
        "timedelta(hours=1)",
        "3600",
        "label.horizon is of type int. Give label.horizon as a datetime.timedelta",
    ),
    ("hours=1)", "hours=1), allowed_lateness=-timedelta(1)", "label.allowed_lateness is negative"),
    ("hours=1)", "hours=1), idle_after=timedelta(0)", "label.idle_after is not positive"),
    ("hours=1)", "hours=1), idle_after=3600", "label.idle_after is of type int"),
    ("hours=1)", "hours=1), absent=0", "label.absent 0 is no value of label.field"),
    ("features=features", "features=features, window=timedelta(0)", "window is not positive"),
    ("features=features", 'features="features"', "features is not callable"),
    (
        "features=features",
        'features=features, metrics=("auc",)',
        "metrics: 'auc' is not a metric of binary classific",
    ),
    ("features=features", 'features=features, metrics=("f1", "f1")', "metrics has f1 twice"),
    (
        "features=features",
        'features=features, pass_through=("at", "amuont")',
        "pass_through 'amuont' is not a field of schema; the nearest is amount. Choose from id",
    ),
    (
        "features=features",
        'features=features, pass_through=("at", "at")',
        "pass_through has at twice. Name each field once",
    ),
    (
        "features=features",
        'features=features, pass_through="amount"',
        "pass_through is of type str. Give pass_through as a tuple",
    ),
    (
        "features=features",
        "features=features, pass_through=(5,)",
        "pass_through[0] is of type int. Give pass_through[0] as the name of a field",
    ),
    (
        "features=features",
        'features=features, metrics=("f1")',
        "metrics is of type str. Give metrics as a tuple",
    ),
    ("features=features", 'features=features, untrained="maybe"', "untrained is 'maybe'"),
    ("features=features", "features=features, thresholds=0.5", "thresholds is of type float"),
    (
        "features=features",
        "features=features, thresholds=Thresholds(decision=1.5)",
        "thresholds.decision",
    ),
    (
        "features=features",
        "features=features, thresholds=Thresholds(decision=None)",
        "thresholds.decision",
    ),
    ("features=features", "features=features, alarms=1", "alarms is of type int"),
    (
        "features=features",
        "features=features, alarms=Alarms(false_per_year=0)",
        "alarms.false_per_year is 0. Give a number above 0, up to 1000",
    ),
    (
        "features=features",
        "features=features, alarms=Alarms(input_drift_per_year=1001)",
        "alarms.input_drift_per_year is 1001",
    ),
    (
        "features=features",
        'features=features, alarms=Alarms(zone="Europe/Zuerich")',
        "there is no time zone 'Europe/Zuerich' on this machine",
    ),
    (
        "features=features",
        'features=features, alarms=Alarms(holidays=("2026-12-25",))',
        "alarms.holidays[0] is '2026-12-25'. Give datetime.date(year, month, day)",
    ),
    (
        "features=features",
        'features=features, alarms=Alarms(action="rollback")',
        "alarms.action is 'rollback'. Choose from alarm, pause",
    ),
    (
        "features=features",
        'features=features, alarms=Alarms(action="pause")',
        "alarms.action is 'pause', but no source of labels is declared, so none can be paused",
    ),
    (
        'clean=(Impute("amount", 0.0),)',
        'clean=Impute("amount", 0.0)',
        "clean is of type Impute. Give clean as a tuple",
    ),
    (
        'clean=(Impute("amount", 0.0),)',
        'clean=("strip",)',
        "clean has a str, which is not callable",
    ),
    ('Impute("amount"', 'Impute("amuont"', "but the record has no field 'amuont'"),
    ("model=model", "model=model()", "model is not callable. Give model a function"),
    ("model=model", "model=broken", "model() raised RuntimeError: no model today"),
    ("model=model", "model=lambda: SHARED", "model() returned the same object twice"),
    (
        "model=model",
        "model=linear_model.LinearRegression",
        "model() made a LinearRegression, a regressor, but the label is no number. End it",
    ),
    (
        "model=model",
        "model=lambda: preprocessing.StandardScaler() | linear_model.LinearRegression()",
        "a regressor, but",
    ),
    ("model=model", "model=dict", "model() made a dict, no classifier"),
    *(
        ("features=features", f"features=features, {declared}", expected)
        for declared, expected in (
            ("retry=None", "retry is of type NoneType. Give retry as stream_app.Retry(...)"),
            (
                "retry=Retry(max_attempts=0)",
                "retry.max_attempts must be a whole number of 1 or more",
            ),
            (
                "retry=Retry(max_waiting=-1)",
                "retry.max_waiting must be a whole number of 0 or more",
            ),
            (
                "retry=Retry(initial_delay=1)",
                "retry.initial_delay is of type int. Give retry.initial_delay as a datetime",
            ),
            ("retry=Retry(give_up_after=timedelta(0))", "retry.give_up_after is not positive"),
            (
                "retry=Retry(initial_delay=timedelta(hours=1))",
                "retry.initial_delay is longer than retry.max_delay",
            ),
            (
                "breaker=False",
                "breaker is of type bool. Give breaker as stream_app.Breaker(...) or None",
            ),
            ("breaker=Breaker(window=0.5)", "breaker.window must be a whole number of 1 or more"),
            (
                "breaker=Breaker(ratio=80)",
                "breaker.ratio must be in (0, 1]. Correct it",
            ),
            (
                "breaker=Breaker(pause=timedelta(hours=1))",
                "breaker.pause is longer than breaker.max_pause",
            ),
            (
                "fallback=0.2",
                "fallback is of type float. Give fallback as stream_app.Fallback(...) or None",
            ),
            ("fallback=Fallback(score=2)", "fallback.score is not a probability"),
            ("fallback=Fallback(last_good=False)", "fallback declares no replacement"),
        )
    ),
    *(
        (
            "features=features",
            f"features=features, thresholds=Thresholds(metrics={declared})",
            expected,
        )
        for declared, expected in (
            (
                '{"log_loss": 0.8}',
                "thresholds.metrics is of type dict. Give thresholds.metrics as a tuple",
            ),
            (
                "(0.8,)",
                "thresholds.metrics[0] is of type float. "
                "Give thresholds.metrics[0] as stream_app.Threshold(...)",
            ),
            (
                '(Threshold(metric="f1", limit=1),)',
                "thresholds.metrics[0]: unknown metric 'f1'. Choose from log_loss, roc_auc, acc",
            ),
            (
                '(Threshold(metric="log_loss", limit=float("nan")),)',
                "thresholds.metrics[0].limit is not a finite number",
            ),
            (
                '(Threshold(metric="log_loss", limit=0, against="majority"),)',
                "log_loss cannot be compared with 'majority'. Choose from prior, offline, or",
            ),
            (
                '(Threshold(metric="log_loss", limit=1, action="stop"),)',
                "unknown action 'stop'. Choose from alarm, pause",
            ),
            (
                '(Threshold(metric="log_loss", limit=1, windows=0),)',
                "windows is 0. Give a whole number of 1 or more",
            ),
            (
                '(Threshold(metric="log_loss", limit=1, min_labels=1.5),)',
                "min_labels is 1.5. Give a whole number of 1 or more",
            ),
            ('(Threshold(metric="log_loss", limit=1, cool_down=1),)', "cool_down is of type int"),
            (
                '(Threshold(metric="log_loss", limit=1, cool_down=-timedelta(1)),)',
                "cool_down is negative",
            ),
            (
                '(Threshold(metric="log_loss", limit=1),) * 2',
                "contains threshold-log_loss-alarm twice. Give",
            ),
        )
    ),
    ("label=Label(", "label=dict(", "label is of type dict"),
    ("label=Label(", "key=3, label=Label(", "key is of type int"),
]


@pytest.mark.parametrize(("old", "new", "expected"), INVALID_DECLARATIONS)
def test_an_invalid_declaration_is_reported_with_a_remedy(
    write: Write, old: str, new: str, expected: str
) -> None:
    assert expected in error_of(write((old, new)))


def test_a_classifier_without_probabilities_is_rejected(write: Write) -> None:
    own = (
        "\nfrom river import base\nclass Mute(base.Classifier):\n"
        "    def learn_one(self, x, y): ...\n"
        "\nclass Scale:"
    )
    message = error_of(write(("\nclass Scale:", own), ("model=model", "model=Mute")))
    assert "model() made a Mute, which gives no probabilities" in message


def test_a_cleaning_step_can_use_a_field_of_an_earlier_step(write: Write) -> None:
    write()
    renamed: Any = load_pipeline(
        str(write(("clean=(", 'clean=(Rename("amount", "sum"), Impute("sum", 0.0), ')))
    )
    assert len(renamed.clean) == 3
    own = load_pipeline(str(write(("clean=(", 'clean=(Scale(), Impute("made", 0.0), '))))
    assert len(own.clean) == 3
