"""Fingerprint of a pipeline: equal everywhere, and different after any change of results."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from stream_app.declaration.pipeline_fingerprint import fingerprint
from stream_app.loading import load_pipeline

SOURCE = '''
import functools
from datetime import timedelta
from river import base, compose, linear_model, preprocessing
from stream_app import Label, Pipeline, Threshold, Thresholds
from stream_app.cleaning import Impute, NullIf
from rates_beside import late_rate

RATE = 0.5
CODES = {"UA", "AA", "DL", "B6", "EV", "MQ"}
UNUSED = 1

class Half:
    def __init__(self, by):
        self.by = by

    def __call__(self, fields):
        return {"amount": fields["amount"] / self.by}

def scaled(value):
    return value * RATE

def add(n):
    def step(fields):
        return {"amount": fields["amount"] + n}
    return step

def strip(fields, name):
    return {}

def features(fields):
    """Features of a record."""
    known = fields["id"] in CODES
    return {"amount": scaled(fields["amount"]), "known": known, "rate": late_rate(fields)}

class Square(base.Transformer):
    def transform_one(self, x):
        return {"square": x["amount"] ** 2}

def model():
    squares = Square() + compose.Select("amount")
    return squares | preprocessing.StandardScaler() | linear_model.LogisticRegression(l2=0.1)

EVENT = {
    "type": "record", "name": "E", "doc": "An event.", "fields": [
        {"name": "id", "type": "string"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "amount", "type": "double", "default": 1.0},
        {"name": "other", "type": "string", "default": ""},
    ],
}
TRUTH = {
    "type": "record", "name": "T", "fields": [
        {"name": "id", "type": "string"},
        {"name": "fraud", "type": "boolean"},
        {"name": "spam", "type": "boolean"},
        {"name": "other", "type": "string"},
        {"name": "known_at", "type": "long"},
        {"name": "seen_at", "type": "long"},
    ],
}
pipeline = Pipeline(
    name="payments",
    schema=EVENT,
    event_id="id",
    event_time="at",
    clean=(
        Impute("amount", 0.0), NullIf("id", ("x",)), Half(2), add(1),
        functools.partial(strip, name="id"),
    ),
    features=features,
    model=model,
    label=Label(schema=TRUTH, field="fraud", time="known_at", horizon=timedelta(hours=1)),
    thresholds=Thresholds(decision=0.5),
)
'''
RATES = "WEIGHT = 2\n\ndef late_rate(fields):\n    return WEIGHT\n"

Compute = Callable[..., str]


@pytest.fixture
def compute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Compute:
    """Return a function that computes the fingerprint of the pipeline with replacements."""
    monkeypatch.setattr(sys, "path", sys.path.copy())

    def compute(*replacements: tuple[str, str]) -> str:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        source, rates = SOURCE, RATES
        for old, new in replacements:
            assert (old in source) or (old in rates)
            source, rates = source.replace(old, new), rates.replace(old, new)
        (folder / "payments.py").write_text(source)
        (folder / "rates_beside.py").write_text(rates)
        monkeypatch.delitem(sys.modules, "rates_beside", raising=False)
        monkeypatch.syspath_prepend(folder)
        return fingerprint(load_pipeline(str(folder / "payments.py")))

    return compute


def test_the_fingerprint_is_equal_in_another_folder(compute: Compute) -> None:
    first = compute()
    assert len(first) == 16
    assert int(first, 16) >= 0
    assert compute() == first


@pytest.mark.parametrize("seed", ["1", "2"])
def test_the_fingerprint_is_equal_in_another_process(
    compute: Compute, tmp_path: Path, seed: str
) -> None:
    first = compute()
    script = (
        "import sys;"
        "from stream_app.declaration.pipeline_fingerprint import fingerprint;"
        "from stream_app.loading import load_pipeline;"
        "print(fingerprint(load_pipeline(sys.argv[1])))"
    )
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "PYTHONHASHSEED": seed,
    }
    command = [sys.executable, "-c", script, str(tmp_path / "0" / "payments.py")]
    result = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert result.stdout.strip() == first


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"type": "double", "default": 1.0', '"type": "double", "default": 2.0'),
        ('"type": "double", "default": 1.0', '"type": "float", "default": 1.0'),
        ("timestamp-millis", "timestamp-micros"),
        ('event_id="id"', 'event_id="other"'),
        ('event_id="id"', 'event_id="id", key="other"'),
        (
            '{"name": "spam", "type": "boolean"}',
            '{"name": "spam", "type": "boolean", "default": False}',
        ),
        ('Impute("amount", 0.0)', 'Impute("amount", 0.5)'),
        ('NullIf("id", ("x",)), ', ""),
        (
            'Impute("amount", 0.0), NullIf("id", ("x",))',
            'NullIf("id", ("x",)), Impute("amount", 0.0)',
        ),
        ("Half(2)", "Half(3)"),
        ("/ self.by", "/ self.by / 1"),
        ("add(1)", "add(2)"),
        ("+ n}", "- n}"),
        ('name="id")', 'name="other")'),
        ('fields["id"] in CODES', 'fields["id"] not in CODES'),
        ("value * RATE", "value / RATE"),
        ("RATE = 0.5", "RATE = 0.6"),
        ('"B6"', '"B7"'),
        ("WEIGHT = 2", "WEIGHT = 3"),
        ('x["amount"] ** 2', 'x["amount"] ** 3'),
        ("l2=0.1", "l2=0.2"),
        ("preprocessing.StandardScaler()", "preprocessing.MinMaxScaler()"),
        ('compose.Select("amount")', 'compose.Discard("amount")'),
        ('field="fraud"', 'field="spam"'),
        ('time="known_at"', 'time="seen_at"'),
        ("hours=1", "hours=2"),
        ("decision=0.5", "decision=0.4"),
    ],
)
def test_the_fingerprint_changes_with_the_results(compute: Compute, old: str, new: str) -> None:
    assert compute((old, new)) != compute()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('name="payments"', 'name="renamed"'),
        ("hours=1)", "hours=1), allowed_lateness=timedelta(hours=1)"),
        ("UNUSED = 1", "UNUSED = 2"),
        ('"doc": "An event."', '"doc": "Something that happened."'),
        (
            "decision=0.5",
            'decision=0.5, metrics=(Threshold(metric="log_loss", limit=0.6, action="rollback"),)',
        ),
        (
            "features=features,",
            'features=features, metrics=("f1",), window=timedelta(hours=1), untrained="allowed",',
        ),
        ("features=features,", 'features=features, pass_through=("other", "amount"),'),
    ],
)
def test_the_fingerprint_ignores_names_metrics_and_documentation(
    compute: Compute, old: str, new: str
) -> None:
    assert compute((old, new)) == compute()


def test_a_cached_function_is_fingerprinted_by_its_source(compute: Compute) -> None:
    cached = ("def features(", "@functools.cache\ndef features(")
    assert compute(cached) == compute(cached)
    assert compute(cached) != compute(cached, ("RATE = 0.5", "RATE = 0.6"))


def test_lambdas_are_distinguished(compute: Compute) -> None:
    one, two = (("features=features,", f'features=lambda fields: {{"a": {n}}},') for n in (1, 2))
    assert compute(one) == compute(one)
    assert compute(one) != compute(two)


def test_a_recursive_closure_is_described_once(compute: Compute) -> None:
    recursive = "def step(fields):\n        return step({}) if n > 9 else {}\n    return step\n"
    replaced = (
        'def step(fields):\n        return {"amount": fields["amount"] + n}\n    return step\n',
        recursive,
    )
    assert compute(replaced) == compute(replaced)
    assert compute(replaced) != compute(replaced, ("add(1)", "add(2)"))


def test_modules_of_the_same_package_are_part_of_the_fingerprint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = set()
    for number, weight in enumerate((2, 3)):
        package = tmp_path / f"package{number}" / "payments_package"
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "rates_beside.py").write_text(RATES.replace("2", str(weight)))
        (package / "pipe.py").write_text(SOURCE.replace("from rates_beside", "from .rates_beside"))
        for name in ("payments_package", "payments_package.pipe", "payments_package.rates_beside"):
            monkeypatch.delitem(sys.modules, name, raising=False)
        monkeypatch.syspath_prepend(package.parent)
        found.add(fingerprint(load_pipeline("payments_package.pipe")))
    assert len(found) == 2
