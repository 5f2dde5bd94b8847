"""Functions by which the rules of a declaration are stated."""

import json
import math
import warnings
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import avro.schema
from avro.errors import AvroException, IgnoredLogicalType

from stream_app.core.reading.validator import compile_validator
from stream_app.errors import PipelineError
from stream_app.pipeline import Schema, parsed


def require(condition: bool, message: str, remedy: str) -> None:
    """Raise a `PipelineError` unless the condition holds."""
    if not condition:
        raise PipelineError(message, remedy)


def require_type(expected: type, values: Mapping[str, object], form: str) -> None:
    """Require that values are of a type.

    Args:
        values: values by the name of their field.
        form: description of a valid value, for the remedy.
    """
    for name, value in values.items():
        require(
            isinstance(value, expected),
            f"{name} is of type {type(value).__name__}",
            f"Give {name} as {form}",
        )


def require_positive_counts(values: Mapping[str, object]) -> None:
    """Require that values, by the name of their field, are whole numbers above zero."""
    for name, value in values.items():
        require(
            is_count(value, least=1), f"{name} must be a whole number of 1 or more", "Correct it"
        )


def require_positive_durations(values: Mapping[str, timedelta]) -> None:
    """Require that values, by the name of their field, are durations above zero."""
    require_type(timedelta, values, "a datetime.timedelta")
    for name, value in values.items():
        require(value > timedelta(0), f"{name} is not positive", "Give a duration above zero")


def is_count(value: object, least: int) -> bool:
    """Return True if a value is a whole number of at least `least`; a boolean is not a number."""
    return type(value) is int and value >= least


def is_finite(value: object) -> bool:
    """Return True if a value is a finite number; a boolean is not a number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def field_types(where: str, schema: Schema) -> dict[str, frozenset[str]]:
    """Return the Avro types of each field of a record schema.

    Raises:
        PipelineError: the schema is not a valid record schema.
    """
    try:
        with warnings.catch_warnings():
            # The library does not know timestamp-seconds, nor a reader's own logical types.
            warnings.simplefilter("ignore", IgnoredLogicalType)
            record = avro.schema.parse(json.dumps(parsed(schema)))
        compile_validator(parsed(schema))
    except (AvroException, ValueError, TypeError) as error:
        raise PipelineError(
            f"{where} is not an Avro record: {error}", "Correct the schema"
        ) from None
    return {field.name: frozenset(_types(field.type)) for field in record.fields}


def require_field(
    fields: Mapping[str, frozenset[str]], where: str, role: str, name: str, allowed: frozenset[str]
) -> None:
    """Require that a record has a field with allowed types, apart from null.

    Args:
        fields: types of each field, from `field_types`.
        where: name of the schema, for messages.
        role: part of the declaration that names the field.
        name: name of the field.
        allowed: Avro types.
    """
    require(
        name in fields,
        f"{role} {name!r} is not a field of {where}",
        f"Choose from {', '.join(fields)}",
    )
    types = fields[name] - {"null"}
    require(
        bool(types) and types <= allowed,
        f"{role} {name!r} has type {', '.join(sorted(types))} in {where}",
        f"Declare the field as {', '.join(sorted(allowed))}",
    )


def _types(schema: Any) -> list[str]:
    return [branch.type for branch in schema.schemas] if schema.type == "union" else [schema.type]
