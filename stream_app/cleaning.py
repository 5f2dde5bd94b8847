"""Cleaning steps: callables that take a record and return the fields they change.

Any function will do. A step that has `imputes = True` invents values, and the names it changes are published with the
prediction. A step that cannot mend a record raises `Rejected`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, is_dataclass
from typing import Any, ClassVar, Literal

from stream_app.records import Fields


class Rejected(Exception):  # noqa: N818  # a verdict on the record, not an error
    """Raised by a step to refuse a record; `reason` says why, with field names but never their values."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Impute:
    """Fill in a value where the field is null.

    >>> Impute("visibility", 10.0)({"visibility": None})
    {'visibility': 10.0}
    """

    field: str
    value: Any
    imputes: ClassVar[bool] = True

    def __call__(self, fields: Fields) -> Mapping[str, Any]:
        return {self.field: self.value} if fields[self.field] is None else {}


@dataclass(frozen=True, slots=True)
class Clip:
    """Move a number outside of `low` to `high` to the nearer bound; null stays null.

    >>> Clip("wind_speed", 0.0, 150.0)({"wind_speed": 1048.4})
    {'wind_speed': 150.0}
    """

    field: str
    low: float
    high: float
    imputes: ClassVar[bool] = True

    def __call__(self, fields: Fields) -> Mapping[str, Any]:
        value = fields[self.field]
        if value is None or self.low <= value <= self.high:
            return {}
        return {self.field: self.low if value < self.low else self.high}


@dataclass(frozen=True, slots=True)
class Between:
    """Replace a number outside of `low` to `high` by `value`, or reject the record; null stays null.

    >>> Between("wind_speed", 0.0, 150.0)({"wind_speed": 1048.4})
    {'wind_speed': None}
    >>> Between("distance", 1.0, 6000.0, otherwise="reject")({"distance": -1.0})
    Traceback (most recent call last):
    stream_app.cleaning.Rejected: distance is not between 1.0 and 6000.0
    """

    field: str
    low: float
    high: float
    otherwise: Literal["impute", "reject"] = "impute"
    value: float | None = None
    imputes: ClassVar[bool] = True

    def __call__(self, fields: Fields) -> Mapping[str, Any]:
        value = fields[self.field]
        if value is None or self.low <= value <= self.high:
            return {}
        if self.otherwise == "reject":
            raise Rejected(f"{self.field} is not between {self.low} and {self.high}")
        return {self.field: self.value}


@dataclass(frozen=True, slots=True)
class Normalise:
    """Strip a text and put it into one case; null stays null.

    >>> Normalise("carrier")({"carrier": " ua "})
    {'carrier': 'UA'}
    """

    field: str
    case: Literal["upper", "lower", "keep"] = "upper"

    def __call__(self, fields: Fields) -> Mapping[str, Any]:
        value = fields[self.field]
        if value is None:
            return {}
        text = value.strip()
        return {
            self.field: text.upper()
            if self.case == "upper"
            else text.lower()
            if self.case == "lower"
            else text
        }


@dataclass(frozen=True, slots=True)
class Rename:
    """Give a field the name that later steps and features use; the old name stays readable.

    >>> Rename("tailnum", "tail_number")({"tailnum": "N14228"})
    {'tail_number': 'N14228'}
    """

    old: str
    new: str

    def __call__(self, fields: Fields) -> Mapping[str, Any]:
        return {self.new: fields[self.old]}


@dataclass(frozen=True, slots=True)
class NullIf:
    """Make a field null where it has one of the values that stand for "not known".

    >>> NullIf("tailnum", ("", "UNKNOWN"))({"tailnum": "UNKNOWN"})
    {'tailnum': None}
    """

    field: str
    values: tuple[Any, ...]

    def __call__(self, fields: Fields) -> Mapping[str, Any]:
        return {self.field: None} if fields[self.field] in self.values else {}


def step_name(step: object) -> str:
    """How messages call a step: a declared one with its parameters, a function by its name.

    >>> step_name(Impute("visibility", 10.0))
    "Impute(field='visibility', value=10.0)"
    """
    return (
        repr(step) if is_dataclass(step) else getattr(step, "__qualname__", type(step).__qualname__)
    )
