"""The records of Avro container files become rows; damaged files are errors."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import fastavro
import pytest

from stream_app.errors import InputError
from stream_app.loading import complete
from stream_app.transfer.input_files import avro_to_json, infer_format, read_rows
from stream_app.transfer.json_lines import BadLine, Row, open_lines
from tests.small_pipeline import EVENT_SCHEMA, NOW, event, small_pipeline

PRICE = {"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2}


def container(path: Path, schema: Any, records: list[Any]) -> Path:
    with path.open("wb") as file:
        fastavro.writer(file, fastavro.parse_schema(schema), records)
    return path


def rows(path: Path) -> list[Row | BadLine]:
    with open_lines(str(path)) as lines:
        found = list(
            read_rows(lines, infer_format(str(path)), complete(small_pipeline()), labels=False)
        )
        assert lines.position == lines.size
    return found


def test_records_are_sent_as_json_with_their_key(tmp_path: Path) -> None:
    found = rows(container(tmp_path / "e.avro", EVENT_SCHEMA, [event(1), event(2)]))
    time = datetime.fromtimestamp(NOW / 1000, UTC).isoformat()
    expected = f'{{"id": "e1", "at": "{time}", "amount": 1.0, "country": "NL"}}'.encode()
    assert found[0] == Row(1, b"e1", expected)
    assert [row.number for row in found] == [1, 2]


def test_decimals_are_numbers(tmp_path: Path) -> None:
    fields = [{"name": "id", "type": "string"}, {"name": "price", "type": PRICE}]
    schema = {"type": "record", "name": "R", "fields": fields}
    sent = [{"id": f"e{price}", "price": Decimal(price)} for price in ("1.20", "-7.00")]
    found = rows(container(tmp_path / "e.avro", schema, sent))
    assert found == [
        Row(1, b"e1.20", b'{"id": "e1.20", "price": 1.2}'),
        Row(2, b"e-7.00", b'{"id": "e-7.00", "price": -7}'),
    ]


def test_a_value_without_json_is_an_error() -> None:
    with pytest.raises(TypeError, match="a value of type set has no JSON"):
        avro_to_json({"x": {1}})


def test_a_record_without_its_key_is_a_bad_line(tmp_path: Path) -> None:
    schema = {"type": "record", "name": "R", "fields": [{"name": "id", "type": ["null", "string"]}]}
    found = rows(container(tmp_path / "e.avro", schema, [{"id": None}]))
    assert found == [BadLine(1, "no key: field id is missing or null")]


def test_a_truncated_file_is_an_error_after_its_complete_blocks(tmp_path: Path) -> None:
    path = container(tmp_path / "e.avro", EVENT_SCHEMA, [event(number) for number in range(5000)])
    path.write_bytes(path.read_bytes()[:-100])
    with open_lines(str(path)) as lines:
        found = read_rows(lines, "avro", complete(small_pipeline()), labels=False)
        assert isinstance(next(found), Row)
        with pytest.raises(InputError, match="is not a whole Avro container file"):
            list(found)


def test_any_damage_is_an_input_error(tmp_path: Path) -> None:
    file = tmp_path / "e.avro"
    with file.open("wb") as stream:
        fastavro.writer(
            stream, fastavro.parse_schema(EVENT_SCHEMA), map(event, range(500)), codec="deflate"
        )
    whole = file.read_bytes()
    for damaged in (
        whole.replace(b"avro.schema", b"avro.scheme"),
        whole[:-500] + b"\0" * 100 + whole[-400:],
    ):
        file.write_bytes(damaged)
        with (
            open_lines(str(file)) as lines,
            pytest.raises(InputError, match="is not a whole Avro container file"),
        ):
            list(read_rows(lines, "avro", complete(small_pipeline()), labels=False))


def test_bytes_and_nan_are_kept() -> None:
    assert avro_to_json({"raw": b"\xff", "x": float("nan")}) == b'{"raw": "\\u00ff", "x": NaN}'
