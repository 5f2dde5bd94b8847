"""Profiles of columns: type, times and missing values of each field in a sample of records."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple

from stream_app.core.reading.avro_decimals import AvroDecimal
from stream_app.core.reading.avro_timestamps import (
    TIMESTAMP_TYPES,
    AvroTimestamp,
    TimeUnit,
    likely_unit,
)
from stream_app.core.reading.event_time import to_unix_ms, with_utc
from stream_app.records import Fields
from stream_app.transfer.text_values import Converter, converter

ColumnType = Literal["boolean", "integer", "number", "text", "other", "empty"]

# Types in the order in which text is tried for them.
_TEXT_TYPES: tuple[tuple[ColumnType, Converter], ...] = (
    ("integer", converter("long")),
    ("number", converter("double")),
    ("boolean", converter("boolean")),
)
_EXACT_TYPES: dict[type, ColumnType] = {
    bool: "boolean", int: "integer", float: "number", str: "text"
}  # fmt: skip
# Numbers that are identifiers, as leading zeros would be lost.
_LEADING_ZERO = re.compile(r"-?0[0-9]+")
_LOGICAL_TYPES = {
    kind.unit: name for name, kind in reversed(TIMESTAMP_TYPES.items()) if name[0] == "t"
}


class SampledRecord(NamedTuple):
    """Record of a sample.

    Attributes:
        fields: content; values may be nested, and those of a text file are text.
        place: where it was read, such as "orders[3]@17"; empty for a file.
    """

    fields: Fields
    place: str = ""


@dataclass(frozen=True)
class Column:
    """Values of one field in all records of a sample.

    Attributes:
        name: name of the field; the path of a nested one, such as "customer.country".
        type: type of its values; "other" for lists and for mixed types, "empty" if all are null.
        values: value in each record, None where it is missing.
        declared_time: logical type of times whose unit need not be guessed, else None.
    """

    name: str
    type: ColumnType
    values: Sequence[Any] = field(repr=False)
    declared_time: str | None = None

    @cached_property
    def filled(self) -> list[Any]:
        """Values that are not null."""
        return [value for value in self.values if value is not None]

    @property
    def nulls(self) -> int:
        """Number of missing values."""
        return len(self.values) - len(self.filled)

    @cached_property
    def distinct(self) -> int:
        """Number of different values."""
        return len(self.filled) if self.type == "other" else len(set(self.filled))

    @cached_property
    def time_type(self) -> str | None:
        """Logical type of a field whose values may all be times, else None."""
        if self.declared_time is not None:
            return self.declared_time
        if self.type == "text":
            times = [to_unix_ms(with_utc(value)) for value in self.filled]
            if None in times:
                return None
            has_offset = all(to_unix_ms(value) is not None for value in self.filled)
            return "timestamp-millis" if has_offset else "local-timestamp-millis"
        if self.type not in ("integer", "number"):
            return None
        units = {likely_unit(value) for value in self.filled}
        unit = units.pop() if len(units) == 1 else None
        name = None if unit is None else _LOGICAL_TYPES[unit]
        return None if self.type == "number" and name != "timestamp-seconds" else name

    @property
    def unit(self) -> TimeUnit:
        """Unit of a field of times."""
        return TIMESTAMP_TYPES[self.time_type or "timestamp-millis"].unit

    @cached_property
    def times(self) -> list[int | None]:
        """Times in Unix milliseconds, None where there is none."""
        if self.time_type is None:
            return [None] * len(self.values)
        unit = self.unit
        return [
            None
            if value is None
            else to_unix_ms(with_utc(value))
            if isinstance(value, str)
            else round(value * unit.milliseconds / unit.per_millisecond)
            for value in self.values
        ]


def profile_columns(records: Iterable[SampledRecord], *, text: bool = False) -> list[Column]:
    """Return the columns of records in the order in which they first appear.

    Args:
        records: sample.
        text: True if values are text, whose type must be guessed.
    """
    flat = [flatten(record.fields) for record in records]
    names = dict.fromkeys(name for fields in flat for name in fields)
    return [_column(name, [fields.get(name) for fields in flat], text) for name in names]


def flatten(fields: Mapping[str, Any], prefix: str = "") -> Fields:
    """Return the values of nested records by their path.

    >>> flatten({"id": 1, "customer": {"country": "NL"}})
    {'id': 1, 'customer.country': 'NL'}
    """
    found: Fields = {}
    for name, value in fields.items():
        if isinstance(value, Mapping):
            found |= flatten(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found


def _column(name: str, values: list[Any], text: bool) -> Column:
    if text:
        return _text_column(name, values)
    types = {type(value) for value in values if value is not None}
    if not types:
        return Column(name, "empty", values)
    if types == {int, float}:
        return Column(name, "number", values)
    if all(issubclass(kind, AvroDecimal) for kind in types):
        return _decimal_column(name, values)
    if len(types) == 1 and issubclass(kind := next(iter(types)), AvroTimestamp):
        numbers = [None if value is None else int(value) for value in values]
        return Column(name, "integer", numbers, _LOGICAL_TYPES[kind.unit])
    exact = _EXACT_TYPES.get(types.pop(), "other") if len(types) == 1 else "other"
    return Column(name, exact, values)


def _decimal_column(name: str, values: list[AvroDecimal | None]) -> Column:
    """Return a column of integers, or of numbers if a digit may follow the decimal point."""
    if any(value is not None and value.scale for value in values):
        return Column(name, "number", [None if one is None else float(one) for one in values])
    return Column(name, "integer", [None if one is None else one.integer() for one in values])


def _text_column(name: str, values: list[str | None]) -> Column:
    """Return a column of text with the narrowest type that all of its values have."""
    if not any(values):
        return Column(name, "empty", values)
    if not any(value and _LEADING_ZERO.fullmatch(value) for value in values):
        for kind, convert in _TEXT_TYPES:
            converted = [None if value is None else convert(value) for value in values]
            filled = [value for value in converted if value is not None]
            if filled and not any(isinstance(value, str) for value in filled):
                return Column(name, kind, converted)
    return Column(name, "text", values)
