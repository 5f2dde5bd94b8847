"""Bundled schemas: outputs fit them, the wheel contains them, and they stay compatible."""

import io
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any, get_args

import avro.io
import avro.schema
import fastavro
import orjson
import pytest

from stream_app.cleaning import Impute
from stream_app.core.published_records import Kind, LimitCheck, Measurement, ValueInterval
from stream_app.core.scoring.partition_state import PartitionState
from stream_app.core.scoring.scorer import Scorer, ScorerConfig
from stream_app.records import Score
from stream_app.schema_registry.compatibility import incompatibilities
from stream_app.schema_registry.folder_registry import FolderRegistry
from stream_app.schema_registry.registry import BundledSchemaName, bundled_schema
from tests.running_system import ROOT
from tests.small_pipeline import HOUR, NOW, event, labelled, record, small_pipeline

NAMES: tuple[BundledSchemaName, ...] = get_args(BundledSchemaName)


class Model:
    """Model with a constant score."""

    name, version = "payments", 3

    def __init__(self, score: Score) -> None:
        self._score = score

    def score(self, features: Any) -> Score:
        return self._score


def scored(score: Score = 0.75, **changes: Any) -> list[dict[str, Any]]:
    """Return scored records of the small pipeline, one with an imputed value."""
    state = PartitionState(0, horizon=24 * HOUR, lateness=6 * HOUR)
    config = ScorerConfig(
        fingerprint="f" * 16, group="g", app_version="1", max_bytes=10_000, max_entries=10
    )
    pipeline = small_pipeline(clean=(Impute("country", "NL"),), **changes)
    scorer = Scorer(pipeline, config, state, lambda: 0.0)
    outputs = scorer.score([record(event(1)), record(event(2, country=None))], Model(score), NOW)
    written = [orjson.loads(output.value or b"") for output in outputs if output.topic == "scored"]
    assert [fields["imputed"] for fields in written] == [[], ["country"]]
    return written


def measurements() -> list[dict[str, Any]]:
    """Return a measurement of each kind with all fields, and one with few."""
    full = [
        Measurement(
            kind, "n", 0, 1, 2, 0.5, LimitCheck(0.4, True), "r", 7, interval=ValueInterval(0.4, 0.6)
        )
        for kind in get_args(Kind)
    ]
    return [
        orjson.loads(one.output("p").value or b"")
        for one in (*full, Measurement("drift", "n", 0, 1, 2))
    ]


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("scored", scored()),
        ("scored", scored(publish_features=True)),
        ("scored", scored({"theft": 0.75, "forgery": 0.25}, label=labelled("string"))),
        ("scored", scored({}, label=labelled("string"))),
        ("scored", scored(-12.5, label=labelled("double"))),
        ("monitoring", measurements()),
    ],
)
def test_outputs_fit_their_schema_in_two_avro_libraries(
    name: BundledSchemaName, written: list[dict[str, Any]]
) -> None:
    schema = bundled_schema(name)
    other = avro.schema.parse(json.dumps(schema))
    for fields in written:
        stream = io.BytesIO()
        fastavro.schemaless_writer(stream, schema, fields, strict=True)
        assert fastavro.schemaless_reader(io.BytesIO(stream.getvalue()), schema, None) == fields
        assert (
            avro.io.DatumReader(other).read(avro.io.BinaryDecoder(io.BytesIO(stream.getvalue())))
            == fields
        )


def test_an_unknown_kind_of_measurement_is_read_as_other() -> None:
    newer = bundled_schema("monitoring")
    kinds = next(field["type"] for field in newer["fields"] if field["name"] == "kind")
    assert set(kinds["symbols"]) == {*get_args(Kind), "other"}
    kinds["symbols"].append("invented")
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, newer, measurements()[0] | {"kind": "invented"})
    stream.seek(0)
    read: Any = fastavro.schemaless_reader(stream, newer, bundled_schema("monitoring"))
    assert read["kind"] == "other"


@pytest.mark.parametrize("name", NAMES)
def test_a_schema_reads_the_records_of_every_release(name: BundledSchemaName) -> None:
    released = FolderRegistry(ROOT / "schemas" / "released").versions(name)
    assert released
    assert incompatibilities(json.dumps(bundled_schema(name)), released) == []


def test_the_wheel_contains_the_schemas(tmp_path: Path) -> None:
    source, installed = tmp_path / "source", tmp_path / "installed"
    for folder in ("schemas", "stream_app"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / folder, source / folder, symlinks=True, ignore=ignored)
    for file in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / file, source / file)
    options = [
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "--disable-pip-version-check",
    ]
    run("-m", "pip", "wheel", *options, "--wheel-dir", str(tmp_path), str(source))
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as content:
        content.extractall(installed)
    code = (
        "from stream_app.schema_registry import registry;"
        "print(registry.__file__, registry.bundled_schema('scored')['name'])"
    )
    shown = run("-c", f"import sys; sys.path.insert(0, {str(installed)!r}); {code}")
    assert shown == f"{installed / 'stream_app' / 'schema_registry' / 'registry.py'} Scored\n"


def run(*arguments: str) -> str:
    """Run Python and return its output."""
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return done.stdout
