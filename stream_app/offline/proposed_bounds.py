"""Proposals of bounds for numeric fields that declare none, from a sample of events."""

from collections.abc import Iterable, Sequence
from math import ceil, floor, isfinite, log10
from typing import Any, NamedTuple

from stream_app.cleaning import Between, Clip
from stream_app.core.reading.decoding import NO_SCHEMAS, Schemas, decode
from stream_app.core.reading.identity import id_fields, key_fields
from stream_app.pipeline import Pipeline, parsed
from stream_app.records import Record

_NUMBERS = frozenset({"int", "long", "float", "double"})
_SAMPLED = 2_000
# Values of a field that a proposal needs.
_MIN_VALUES = 20
# Distance of the bounds from the quartiles, in distances between the quartiles. A tenth of the
# values may be anything without changing the order of magnitude.
_MARGIN = 10
# The same on the scale of logarithms, for values that differ by factors.
_LOG_MARGIN = 3
# Largest ratio of the bounds to the quartiles on the scale of logarithms.
_LARGEST_RATIO = 1e6


class RecordSample:
    """Evenly thinned sample of records.

    Attributes:
        records: at most 2,000 records.
    """

    def __init__(self) -> None:
        self.records: list[Record] = []
        self._stride = 1
        self._seen = 0

    def add(self, record: Record) -> None:
        """Offer a record."""
        if self._seen % self._stride == 0:
            self.records.append(record)
            if len(self.records) > _SAMPLED:
                self.records = self.records[::2]
                self._stride *= 2
        self._seen += 1


class ProposedBounds(NamedTuple):
    """Proposed bounds of a field.

    Attributes:
        field: name of the field.
        low, high: bounds.
        values: number of values in the sample.
        outside: number of them outside the bounds.
        nullable: True if the field may be null, which replaces a number outside the bounds.
    """

    field: str
    low: float
    high: float
    values: int
    outside: int
    nullable: bool = False

    @property
    def line(self) -> str:
        """Cleaning step to paste into `clean`."""
        otherwise = "" if self.nullable else ', otherwise="reject"'
        return f'Between("{self.field}", {_text(self.low)}, {_text(self.high)}{otherwise})'

    @property
    def reason(self) -> str:
        """Explanation of the bounds."""
        return (
            f"quartiles of {self.values:,} values and {_MARGIN} times their distance or more; "
            f"{self.outside:,} are outside"
        )


def propose_bounds(
    pipeline: Pipeline, records: Iterable[Record], schemas: Schemas = NO_SCHEMAS
) -> list[ProposedBounds]:
    """Return proposed bounds for each numeric field without `Between` or `Clip`.

    A field with fewer than 20 numbers, or of which half have the same value, has no proposal.

    Args:
        pipeline: loaded pipeline.
        records: sample of raw records; those that cannot be decoded are left out.
        schemas: writer schemas that Avro records refer to.
    """
    values: dict[str, list[float]] = {name: [] for name in _unbounded(pipeline)}
    if not values:
        return []
    for record in records:
        fields = decode(record.value, record.headers, schemas)
        if isinstance(fields, dict):
            for name, numbers in values.items():
                number = _number(fields.get(name))
                if number is not None:
                    numbers.append(number)
    types = {field["name"]: field["type"] for field in parsed(pipeline.schema)["fields"]}
    found = [_propose(name, sorted(numbers)) for name, numbers in values.items()]
    return [one._replace(nullable="null" in types[one.field]) for one in found if one is not None]


def _unbounded(pipeline: Pipeline) -> list[str]:
    """Return the numeric fields without declared bounds, apart from ids and times."""
    declared = {step.field for step in pipeline.clean if isinstance(step, Between | Clip)}
    declared |= {*id_fields(pipeline), *key_fields(pipeline), pipeline.event_time}
    return [
        field["name"]
        for field in parsed(pipeline.schema)["fields"]
        if field["name"] not in declared and _is_numeric(field["type"])
    ]


def _is_numeric(avro: Any) -> bool:
    if isinstance(avro, list):
        types = [one for one in avro if one != "null"]
        return bool(types) and all(map(_is_numeric, types))
    if isinstance(avro, dict):
        return "logicalType" not in avro and _is_numeric(avro["type"])
    return avro in _NUMBERS


def _number(value: object) -> float | None:
    """Return a finite number; decoded integers have up to 64 bits."""
    if type(value) is int or (type(value) is float and isfinite(value)):
        return float(value)
    return None


def _propose(name: str, numbers: Sequence[float]) -> ProposedBounds | None:
    if len(numbers) < _MIN_VALUES:
        return None
    first, third = numbers[len(numbers) // 4], numbers[len(numbers) * 3 // 4]
    if third < 0:
        mirrored = _propose(name, [-number for number in reversed(numbers)])
        return mirrored and mirrored._replace(low=-mirrored.high, high=-mirrored.low)
    distance = third - first
    if not (isfinite(distance) and distance > 0):
        return None
    low, high = first - _MARGIN * distance, third + _MARGIN * distance
    if first > 0:
        high = max(high, third * min((third / first) ** _LOG_MARGIN, _LARGEST_RATIO))
    # Amounts and counts have no negative values, temperatures above zero may fall below it.
    if low < 0 <= numbers[len(numbers) // 20] and first < 2 * distance:
        low = 0.0
    low, high = _rounded(low, floor), _rounded(high, ceil)
    if not (isfinite(low) and isfinite(high)):
        return None
    outside = sum(not low <= number <= high for number in numbers)
    return ProposedBounds(name, low, high, len(numbers), outside)


def _rounded(bound: float, direction: Any) -> float:
    """Return a bound with one digit, rounded outwards.

    >>> _rounded(8234.0, ceil), _rounded(-0.0123, floor), _rounded(0.0, floor)
    (9000.0, -0.02, 0.0)
    """
    if bound == 0 or not isfinite(bound):
        return bound
    exponent = floor(log10(abs(bound)))
    return float(f"{direction(bound / 10.0**exponent)}e{exponent}")


def _text(bound: float) -> str:
    """Return a bound as Python source.

    >>> _text(0.0), _text(9000.0), _text(2e7), _text(-0.02)
    ('0', '9000', '2e7', '-0.02')
    """
    text = f"{bound:g}"
    return text.replace("e+0", "e").replace("e+", "e").replace("e-0", "e-")
