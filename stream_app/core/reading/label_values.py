"""Values of the label's field: their type, and which of them mean true and false."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from stream_app.pipeline import Label, parsed

NUMBER_TYPES = frozenset({"int", "long", "float", "double"})
"""Avro types of a label that is a number."""


class LabelType(NamedTuple):
    """Avro type of the label's field, and the symbols of an enum."""

    name: str
    symbols: tuple[str, ...] = ()


def label_type(label: Label) -> LabelType:
    """Return the type of the field of a declaration whose schema has been read."""
    kind = next(
        field["type"] for field in parsed(label.schema)["fields"] if field["name"] == label.field
    )
    symbols: tuple[str, ...] = ()
    while not isinstance(kind, str):
        if isinstance(kind, Mapping):
            kind, symbols = kind["type"], tuple(kind.get("symbols", ()))
        else:
            kind = kind[0]
    return LabelType(kind, symbols)


def declared_values(value: object) -> tuple[Any, ...]:
    """Return the values of `Label.positive` or `Label.negative`, none for None.

    >>> declared_values(1), declared_values(("fraud", "theft")), declared_values(None)
    ((1,), ('fraud', 'theft'), ())
    """
    if value is None:
        return ()
    return value if isinstance(value, tuple) else (value,)


def negative_values(label: Label) -> tuple[Any, ...]:
    """Return the values that mean false, none if they are neither declared nor clear.

    They are clear for a number, where 0 means false, and for the other symbol of an enum of two.
    """
    if label.negative is not None:
        return declared_values(label.negative)
    positive, (name, symbols) = declared_values(label.positive), label_type(label)
    if name in NUMBER_TYPES:
        return () if 0 in positive else (0,)
    others = tuple(symbol for symbol in symbols if symbol not in positive)
    return others if len(symbols) == 2 and len(others) == 1 else ()


def binary_values(label: Label) -> dict[Any, bool] | None:
    """Return the meaning of each value of a label with `positive`, None without it.

    >>> schema = {"type": "record", "name": "L", "fields": [{"name": "late", "type": "int"}]}
    >>> from datetime import timedelta
    >>> day = timedelta(days=1)
    >>> binary_values(Label(schema=schema, field="late", time="at", horizon=day, positive=1))
    {0: False, 1: True}
    """
    if label.positive is None:
        return None
    return {
        **dict.fromkeys(negative_values(label), False),
        **dict.fromkeys(declared_values(label.positive), True),
    }
