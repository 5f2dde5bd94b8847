"""Cleaning steps: callables that take a record and return the fields that they change.

Any function can be a step:

    def fill_country(payment):
        return {"country": "NL"} if payment["country"] is None else {}

A step with the attribute `imputes = True` makes up values; the names of the fields that it changes
are published with the prediction. A step raises `Rejected` for a record that it cannot clean.
"""

from collections.abc import Mapping
from dataclasses import dataclass, is_dataclass
from typing import Any, ClassVar, Literal

from stream_app.records import Fields


class Rejected(Exception):  # noqa: N818  # a result for one record, not an error
    """Raised by a cleaning step to reject a record, which becomes a dead letter.

    Args:
        reason: text for the dead letter. It may contain names of fields, never their values.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Impute:
    """Replaces null by a fixed value.

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
    """Replaces a number outside [`low`, `high`] by the nearer bound; null stays null.

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
    """Replaces a number outside [`low`, `high`] by `value`, or rejects the record.

    Null stays null.

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
    """Strips white space from a text and converts its case; null stays null.

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
        if self.case == "keep":
            return {self.field: text}
        return {self.field: text.upper() if self.case == "upper" else text.lower()}


@dataclass(frozen=True, slots=True)
class Rename:
    """Copies a field to the name that later steps and features use; the old name stays readable.

    >>> Rename("tailnum", "tail_number")({"tailnum": "N14228"})
    {'tail_number': 'N14228'}
    """

    old: str
    new: str

    def __call__(self, fields: Fields) -> Mapping[str, Any]:
        return {self.new: fields[self.old]}


@dataclass(frozen=True, slots=True)
class NullIf:
    """Replaces values that stand for "unknown" by null.

    >>> NullIf("tailnum", ("", "UNKNOWN"))({"tailnum": "UNKNOWN"})
    {'tailnum': None}
    """

    field: str
    values: tuple[Any, ...]

    def __call__(self, fields: Fields) -> Mapping[str, Any]:
        return {self.field: None} if fields[self.field] in self.values else {}


def step_name(step: object) -> str:
    """Return the name of a step for messages: a step above with its parameters, or a function.

    >>> step_name(Impute("visibility", 10.0))
    "Impute(field='visibility', value=10.0)"
    """
    return (
        repr(step) if is_dataclass(step) else getattr(step, "__qualname__", type(step).__qualname__)
    )
