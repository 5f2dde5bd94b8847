"""Texts of the key K and of the event id, which are one field of the record or several.

The text of one field is its value as text. The text of several fields is their texts joined by "/",
where each "/" and each backslash inside a text follows a backslash: two different keys never have
the same text. In UTF-8, the text of K is the key of the Kafka record.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from stream_app.pipeline import Pipeline
from stream_app.records import Failure

FieldNames = tuple[str, ...]
"""Names of the fields of a key or an id, in their order; at least one."""


def field_names(declared: str | tuple[str, ...]) -> FieldNames:
    """Return the names of one or several declared fields.

    >>> field_names("order_id"), field_names(("bank", "account"))
    (('order_id',), ('bank', 'account'))
    """
    return (declared,) if isinstance(declared, str) else declared


def id_fields(pipeline: Pipeline) -> FieldNames:
    """Return the names of the fields of the event id."""
    return field_names(pipeline.event_id)


def key_fields(pipeline: Pipeline) -> FieldNames:
    """Return the names of the fields of K, by default those of the event id."""
    return field_names(pipeline.key or pipeline.event_id)


def key_is_id(pipeline: Pipeline) -> bool:
    """Return True if the text of K is that of the event id."""
    return key_fields(pipeline) == id_fields(pipeline)


def identity_text(fields: Mapping[str, Any], names: FieldNames) -> str | None:
    """Return the text of a key or an id, or None if one of its fields is missing or null.

    >>> identity_text({"order": 7}, ("order",))
    '7'
    >>> identity_text({"bank": "a/b", "account": 7}, ("bank", "account"))
    'a\\\\/b/7'
    """
    if len(names) == 1:
        value = fields.get(names[0])
        return None if value is None else str(value)
    values = [fields.get(name) for name in names]
    return None if None in values else join_texts(map(str, values))


def empty_field(fields: Mapping[str, Any], names: FieldNames) -> Failure | None:
    """Return the failure of a key or an id one of whose fields is null or an empty text."""
    for name in names:
        value = fields[name]
        if value is None or value == "":
            return Failure("missing-field", f"field {name} is empty")
    return None


def join_texts(texts: Iterable[str]) -> str:
    """Return the text of several fields.

    >>> join_texts(["a", "b/c"])
    'a/b\\\\/c'
    """
    return "/".join(text.replace("\\", "\\\\").replace("/", "\\/") for text in texts)
