"""Tables in Parquet, CSV and JSON lines: kinds of columns, missing values, mixed kinds."""

import csv
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from pyarrow import parquet

from stream_app.core.examples import Example
from stream_app.errors import OutputError
from stream_app.offline.example_export import Columns, Row, example_row, table_file_for
from stream_app.records import Features
from tests.learning import examples
from tests.running_system import ROOT

FEATURES: tuple[Features, ...] = (
    {"amount": 2.5, "count": 3, "abroad": True, "country": "NL", "mixed": 1, "both": 1},
    {
        "amount": 4.0,
        "count": 2**62,
        "abroad": False,
        "country": 'x,\n"y"',
        "mixed": "one",
        "both": 0.5,
    },
    {"amount": 1e-300, "mixed": True},
)


def rows() -> list[Row]:
    return [
        example_row(
            offset,
            Example(
                f"e{offset}",
                offset,
                1_700_000_000_000,
                offset > 0,
                0.25,
                -1,
                features,
                "f1",
                partition=2,
            ),
        )
        for offset, features in enumerate(FEATURES)
    ]


def written(to: Path, *groups: list[Row]) -> Path:
    columns = Columns()
    for group in groups:
        for row in group:
            columns.add(row)
    with to.open("xb") as file:
        sheet = table_file_for(to)(file, columns.kinds())
        for group in groups:
            sheet.write(group)
        sheet.close()
    return to


def test_parquet_is_typed_and_has_null_for_missing_values(tmp_path: Path) -> None:
    first, *others = rows()
    file = parquet.ParquetFile(written(tmp_path / "rows.parquet", [first], others))
    assert file.num_row_groups == 2
    assert {field.name: str(field.type) for field in file.schema_arrow} == {
        "offset": "int64",
        "event_id": "string",
        "event_time": "timestamp[ms, tz=UTC]",
        "label_time": "timestamp[ms, tz=UTC]",
        "label": "bool",
        "score": "double",
        "assumed": "bool",
        "label_source": "string",
        "event_source": "string",
        "schema_id": "string",
        "partition": "int64",
        "model_version": "int64",
        "fingerprint": "string",
        "feature.amount": "double",
        "feature.count": "int64",
        "feature.abroad": "bool",
        "feature.country": "string",
        "feature.mixed": "string",
        "feature.both": "double",
    }
    found: dict[str, list[Any]] = file.read().to_pydict()
    for name in ("amount", "count", "abroad", "country"):
        assert found[f"feature.{name}"] == [features.get(name) for features in FEATURES]
    assert found["feature.mixed"] == ["1", "one", "true"]
    assert found["feature.both"] == [1.0, 0.5, None]
    assert found["label_time"][0] == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)


def test_csv_has_iso_times_and_empty_cells_for_missing_values(tmp_path: Path) -> None:
    with written(tmp_path / "rows.csv", rows()).open(newline="") as file:
        found = list(csv.DictReader(file))
    assert found[1]["feature.country"] == 'x,\n"y"'
    assert [row["feature.abroad"] for row in found] == ["true", "false", ""]
    assert [float(row["feature.amount"]) for row in found] == [2.5, 4.0, 1e-300]
    assert found[0]["label_time"] == "2023-11-14T22:13:20.000+00:00"


def test_json_lines_are_the_rows(tmp_path: Path) -> None:
    lines = written(tmp_path / "rows.jsonl", rows()).read_bytes().splitlines()
    assert [orjson.loads(line) for line in lines] == rows()


def test_each_class_probability_has_a_column() -> None:
    example = Example("e", 0, 0, "b", {"a": 0.25, "b": 0.75}, 3, {"x": 1.0}, "f1")
    columns = Columns()
    columns.add(example_row(0, example))
    kinds = columns.kinds()
    assert (kinds["label"], kinds["score.a"], kinds["score.b"]) == ("text", "number", "number")
    assert list(kinds)[-1] == "feature.x"


def test_an_unknown_extension_and_a_missing_package_are_errors(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"End it in \.jsonl, \.csv, \.parquet"):
        table_file_for(tmp_path / "rows.xlsx")
    program = "import sys; sys.modules['pyarrow'] = None\nfrom pathlib import Path\n"
    program += "from stream_app.offline.example_export import table_file_for\n"
    program += "table_file_for(Path('x.parquet'))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert "Parquet needs the package pyarrow. pip install 'stream-app[offline]'" in done.stderr


def test_the_notebook_of_the_documentation_works(tmp_path: Path) -> None:
    (block,) = re.findall(
        r"```python\n(.*?)```", (ROOT / "docs" / "train-offline.md").read_text(), re.DOTALL
    )
    written(
        tmp_path / "week.parquet",
        [example_row(offset, example) for offset, example in enumerate(examples(300))],
    )
    done = subprocess.run(
        [sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert re.fullmatch(r"served: \d\.\d{4}, this one: 0\.\d{4}\n", done.stdout), done.stderr
