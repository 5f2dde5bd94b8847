"""Texts of the key K and of the event id, which are one field of the record or several.

The text of one field is its value as text. The text of several fields is their texts joined by "/",
where each "/" and each backslash inside a text follows a backslash: two different keys never have
the same text. In UTF-8, the text of K is the key of the Kafka record.

The identity of an event is (K, event id). Its text is the two texts, joined by the same rule; where
K is the event id, it is the event id.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from stream_app.pipeline import Pipeline
from stream_app.records import Failure

# Part of a joined text, and the separator after it, if any.
_PART = re.compile(r"((?:[^\\/]|\\.)*)(/?)", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)

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


def split_texts(joined: str) -> list[str]:
    """Return the texts of which `join_texts` returned the text.

    >>> split_texts("a/b\\\\/c")
    ['a', 'b/c']
    """
    if "\\" not in joined:
        return joined.split("/")
    texts: list[str] = []
    for found in _PART.finditer(joined):
        texts.append(_ESCAPED.sub(r"\1", found[1]))
        if not found[2]:
            break
    return texts


def event_identity(key: str, event_id: str) -> str:
    """Return the text of an event's identity in a pipeline whose key is not the event id.

    >>> event_identity("NL-17", "o1"), event_identity("NL/17", "o1")
    ('NL-17/o1', 'NL\\\\/17/o1')
    """
    # Fast path: most texts have nothing to escape.
    text = f"{key}/{event_id}"
    return text if "\\" not in text and text.count("/") == 1 else join_texts((key, event_id))


class EventIdentity(NamedTuple):
    """Identity of an event: the texts of K and of the event id.

    >>> EventIdentity.parse("NL\\\\/17/o1")
    EventIdentity(key='NL/17', event_id='o1')
    """

    key: str
    event_id: str

    @classmethod
    def parse(cls, text: str) -> "EventIdentity":
        """Return the identity of `event_identity`."""
        return cls(*split_texts(text))
