"""Labelled examples, which scorers publish and the learner learns.

This module is not compiled, because mypyc does not know Structs.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Protocol

import orjson
from msgspec import Meta, MsgspecError, Struct
from msgspec.json import Decoder, Encoder

from stream_app.records import Score

_Integer = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
_Number = float | _Integer


class Example(
    Struct, tag_field="kind", tag="example", forbid_unknown_fields=True, frozen=True, gc=False
):
    """Event with the prediction that was served, and its label.

    The types are those of any task, as JSON expresses them.

    Attributes:
        event_id: id of the event.
        event_time: time of the event in Unix milliseconds.
        label_time: time at which the label became known in Unix milliseconds.
        label: the label.
        score: served score.
        model_version: version that made the score.
        features: features as they were at the prediction.
        fingerprint: fingerprint of the pipeline's declaration.
        assumed: True if no label came, and the declared one was assumed.
        label_source: source of the label; None without one, as for an assumed label.
        event_source: source of the event, None without one.
        schema_id: id of the schema with which the event was written, as text; None for JSON.
        partition: partition in which the event and its label are.
    """

    event_id: str
    event_time: _Integer
    label_time: _Integer
    label: bool | str | _Number
    score: _Number | Mapping[str, _Number]
    model_version: _Integer
    features: dict[str, _Number | bool | str]
    fingerprint: str
    assumed: bool = False
    label_source: str | None = None
    event_source: str | None = None
    schema_id: str | None = None
    partition: _Integer | None = None

    def encode(self) -> bytes:
        """Return the JSON object that `<p>.examples` carries."""
        return _encode_example(self)

    @classmethod
    def decode(cls, value: bytes) -> "Example":
        """Return the example of `encode`, without any check."""
        return _decoded(orjson.loads(value))


class ExampleTask(Protocol):
    """Task that tells if labels and scores are its own; every `PredictionTask` is one."""

    def is_label(self, label: object) -> bool:
        """Return True if the value is a label of the task."""

    def valid_score(self, score: object) -> Score | None:
        """Return the score, or None if the value is not a score of the task."""


def label_source(example: Example) -> str | None:
    """Return the name of the source of an example's label, None if it has none."""
    return example.label_source


_TEXT = (str, type(None))
_encode_example = Encoder().encode
_OPTIONAL = dict(zip(Example.__struct_fields__[-5:], Example.__struct_defaults__, strict=True))
_REQUIRED = Example.__struct_fields__[: -len(_OPTIONAL)]
# Beginning of what `Example.encode` returns.
_ENCODED_START = b'{"kind":"example",'
_decode_encoded = Decoder(Example).decode


def decode_example(value: bytes | None, task: ExampleTask) -> Example | str:
    """Return the example that a value holds.

    Returns:
        The example, or the cause why there is none: "empty", "undecodable", "unknown-kind" or
        "wrong-type".
    """
    if value is None:
        return "empty"
    if value.startswith(_ENCODED_START):
        try:
            example: Example = _decode_encoded(value)
        except MsgspecError:
            return _decode_other(value, task)
        known = task.is_label(example.label) and task.valid_score(example.score) is not None
        return example if known else "wrong-type"
    return _decode_other(value, task)


def _decode_other(value: bytes, task: ExampleTask) -> Example | str:
    """Decode a value that another program may have written."""
    try:
        fields: dict[str, Any] = orjson.loads(value)
        if fields["kind"] != "example":
            return "unknown-kind"
        example = _decoded(fields)
    except (ValueError, TypeError, KeyError):
        return "undecodable"
    return example if _has_example_types(example, task) else "wrong-type"


def _decoded(fields: dict[str, Any]) -> Example:
    values: dict[str, Any] = {name: fields[name] for name in _REQUIRED}
    values |= {name: fields.get(name, default) for name, default in _OPTIONAL.items()}
    return Example(**values)


def _has_example_types(example: Any, task: ExampleTask) -> bool:
    return (
        task.is_label(example.label)
        and type(example.label_time) is int
        and type(example.event_time) is int
        and type(example.model_version) is int
        and type(example.features) is dict
        and type(example.assumed) is bool
        and type(example.label_source) in _TEXT
        and type(example.event_source) in _TEXT
        and type(example.schema_id) in _TEXT
        and type(example.partition) in (int, type(None))
        and task.valid_score(example.score) is not None
    )
