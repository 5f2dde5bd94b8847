"""The records of an input file, whatever its format."""

from collections.abc import Iterator
from pathlib import PurePath
from typing import Literal

from stream_app.errors import InputError
from stream_app.pipeline import Pipeline, parsed
from stream_app.transfer.avro_files import avro_rows
from stream_app.transfer.csv_files import csv_rows
from stream_app.transfer.json_lines import BadLine, InputLines, Row, json_rows

Format = Literal["json", "csv", "avro"]

_FORMATS: dict[str, Format] = {
    ".avro": "avro", ".csv": "csv", ".json": "json", ".jsonl": "json", ".ndjson": "json",
}  # fmt: skip


def format_of(path: str) -> Format:
    """The format that the name of a file stands for; JSON lines for `-`, `InputError` where it says nothing."""
    suffix = PurePath(path).suffix.lower()
    if path != "-" and suffix not in _FORMATS:
        raise InputError(
            f"The format of {path} is not known by its name", "Add --format json, csv or avro"
        )
    return _FORMATS.get(suffix, "json")


def rows_of(
    lines: InputLines, file_format: Format, pipeline: Pipeline, *, labels: bool
) -> Iterator[Row | BadLine]:
    """The events, or `labels`, of a loaded pipeline, each with its key."""
    key = pipeline.key or pipeline.event_id
    match file_format:
        case "json":
            return json_rows(lines, key)
        case "csv":
            return csv_rows(
                lines, parsed(pipeline.label.schema if labels else pipeline.schema), key
            )
        case "avro":
            return avro_rows(lines, key)
