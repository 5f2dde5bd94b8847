"""Rules of the declaration of labels: fields, types, and the values that mean true and false."""

from collections.abc import Mapping
from datetime import timedelta

from stream_app.core.evaluation.prediction_tasks import LABEL_TYPES
from stream_app.core.reading.identity import FieldNames, id_fields, key_fields
from stream_app.core.reading.label_values import (
    NUMBER_TYPES,
    LabelType,
    declared_values,
    label_type,
    negative_values,
)
from stream_app.declaration.requirements import (
    field_types,
    is_finite,
    require,
    require_field,
    require_type,
)
from stream_app.pipeline import Label, Pipeline

ID_TYPES = frozenset({"string", "int", "long", "enum"})
"""Avro types of an event id and of a key."""
TIME_TYPES = frozenset({"long", "string"})
"""Avro types of a time."""


def check_label(pipeline: Pipeline) -> None:
    """Check the schema and the fields of labels.

    Raises:
        PipelineError: a rule is violated.
    """
    label = pipeline.label
    fields = field_types("label.schema", label.schema)
    require_id_fields(fields, "label.schema", "event_id", id_fields(pipeline))
    require_field(fields, "label.schema", "label.time", label.time, TIME_TYPES)
    require_field(fields, "label.schema", "label.field", label.field, LABEL_TYPES)
    require(
        "null" not in fields[label.field],
        f"label.field {label.field!r} may be null in label.schema",
        "Declare its type without null; send no label where the truth is not known",
    )
    require(
        len(fields[label.field]) == 1,
        f"label.field {label.field!r} is of several types in label.schema",
        f"Declare it as one of {', '.join(sorted(LABEL_TYPES))}",
    )
    own = tuple(name for name in key_fields(pipeline) if name in fields)
    require_id_fields(fields, "label.schema", "key", own)
    _check_delay(label)
    _check_values(label)


def require_id_fields(
    fields: Mapping[str, frozenset[str]], where: str, role: str, names: FieldNames
) -> None:
    """Require that fields of an id or a key exist and have types with a unique text.

    Raises:
        PipelineError: a field is missing or has another type.
    """
    for name in names:
        require_field(fields, where, role, name, ID_TYPES)


def _check_delay(label: Label) -> None:
    if label.delay is None:
        return
    require_type(timedelta, {"label.delay": label.delay}, "a datetime.timedelta")
    require(
        timedelta(0) <= label.delay <= label.horizon,
        "label.delay is negative or longer than label.horizon",
        "Give the usual time from an event to its label, and a horizon that is longer",
    )


def _check_values(label: Label) -> None:
    """Check that `positive` and `negative` are different values that the field may have."""
    if label.positive is None:
        require(
            label.negative is None,
            "label.negative is declared without label.positive",
            "Give label.positive the value that means true",
        )
        return
    kind = label_type(label)
    require(
        kind.name != "boolean",
        f"label.positive is declared, but label.field {label.field!r} is boolean",
        "Leave it out: true is true",
    )
    for name in ("positive", "negative"):
        value = getattr(label, name)
        require(value != (), f"label.{name} is empty", "Name at least one value")
        for one in declared_values(value):
            require(
                _fits(one, kind),
                f"label.{name} has {one!r}, which label.field {label.field!r} of type {kind.name} "
                "cannot have",
                _possible(kind),
            )
    positive, negative = declared_values(label.positive), negative_values(label)
    require(
        bool(negative),
        "label.negative is missing: it is not clear which value means false",
        'Declare both, as in positive="yes", negative="no"; other values become dead letters',
    )
    require(
        not set(positive) & set(negative),
        "label.positive and label.negative have a value in common",
        "Name each value once",
    )


def _fits(value: object, kind: LabelType) -> bool:
    if kind.name in NUMBER_TYPES:
        return is_finite(value) and (kind.name in ("float", "double") or type(value) is int)
    return type(value) is str and (not kind.symbols or value in kind.symbols)


def _possible(kind: LabelType) -> str:
    if kind.symbols:
        return f"Choose from {', '.join(kind.symbols)}"
    return "Give numbers" if kind.name in NUMBER_TYPES else "Give text, in quotes"
