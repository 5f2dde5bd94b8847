"""Annotations on `<pipeline>.models`: pins of versions, pauses of learning, exclusions."""

from typing import Any, NamedTuple

import orjson

from stream_app.core.learning.learning_rules import Exclusion
from stream_app.errors import ModelError
from stream_app.records import Output

LEARNING_KEY = "learning"
_SOURCE_PREFIX = f"{LEARNING_KEY}/"
_EXCLUSION_PREFIX = "exclusion/"
_PIN_PREFIX = "pin/"


class Annotation(NamedTuple):
    """Pin of a version, pause of learning or of a source, or withdrawal of an exclusion.

    Attributes:
        active: True for a pin and a withdrawal, and while learning is paused.
        at: ISO 8601.
        who: user@host, "learner" or "monitor".
        why: reason given.
    """

    active: bool
    at: str
    who: str
    why: str


class ExclusionAnnotation(NamedTuple):
    """Exclusion, and its withdrawal if it was withdrawn."""

    exclusion: Exclusion
    withdrawn: Annotation | None = None


def learning_annotation(annotation: Annotation, source: str | None = None) -> Output:
    """Return the record that pauses learning, as a whole or of a source, or ends the pause."""
    key = LEARNING_KEY if source is None else f"{_SOURCE_PREFIX}{source}"
    return Output("models", 0, key.encode(), orjson.dumps(annotation._asdict()))


def exclusion_annotation(annotated: ExclusionAnnotation) -> Output:
    """Return the record of an exclusion, or of its withdrawal."""
    exclusion, withdrawn = annotated
    fields = exclusion._asdict() | {"withdrawn": None if withdrawn is None else withdrawn._asdict()}
    key = f"{_EXCLUSION_PREFIX}{exclusion.number}"
    return Output("models", 0, key.encode(), orjson.dumps(fields))


def pin_annotation(version: int, annotation: Annotation | None) -> Output:
    """Return the record that pins a version, or removes its pin when `annotation` is None."""
    return Output(
        "models",
        0,
        f"{_PIN_PREFIX}{version}".encode(),
        None if annotation is None else orjson.dumps(annotation._asdict()),
    )


def pinned_version(key: str) -> int | None:
    """Return the version that a key pins, or None for another key.

    >>> pinned_version("pin/12"), pinned_version("version/12")
    (12, None)
    """
    number = key.removeprefix(_PIN_PREFIX)
    return int(number) if number != key and number.isdecimal() else None


def paused_source(key: str) -> str | None:
    """Return the source whose pause a key is about, or None for another key.

    >>> paused_source("learning/disputes"), paused_source("learning")
    ('disputes', None)
    """
    return key.removeprefix(_SOURCE_PREFIX) if key.startswith(_SOURCE_PREFIX) else None


def is_exclusion(key: str) -> bool:
    """Return True for the key of an exclusion."""
    return key.startswith(_EXCLUSION_PREFIX)


def decode_annotation(value: bytes) -> Annotation:
    """Return the annotation in a JSON record.

    Raises:
        ModelError: the record is not an annotation.
    """
    try:
        return Annotation(**orjson.loads(value))
    except (ValueError, TypeError):
        raise _unreadable("an annotation") from None


def decode_exclusion(value: bytes) -> ExclusionAnnotation:
    """Return the exclusion in a JSON record.

    Raises:
        ModelError: the record is not an exclusion.
    """
    try:
        fields: dict[str, Any] = orjson.loads(value)
        withdrawn = fields.pop("withdrawn")
        exclusion = Exclusion(**fields)
        if any(type(one) is not int for one in exclusion[:3]):
            raise TypeError
        return ExclusionAnnotation(
            exclusion, None if withdrawn is None else Annotation(**withdrawn)
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        raise _unreadable("an exclusion") from None


def _unreadable(what: str) -> ModelError:
    return ModelError(
        f"{what} on the models topic cannot be read",
        "The topic was modified by another program. Restore the record from a backup",
    )
