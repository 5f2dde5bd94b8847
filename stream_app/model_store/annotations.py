"""Annotations: pins and the pause of learning on `<pipeline>.models`, with their audit entries.

Anybody can read them from the topic. The learner itself follows the control records in
`<pipeline>.examples`.
"""

from typing import NamedTuple

import orjson

from stream_app.core.learning.examples_log import Control
from stream_app.core.monitoring.audit_entry import AuditEntry, ModelOperation
from stream_app.errors import ModelError
from stream_app.records import Output

LEARNING_KEY = "learning"
PIN_PREFIX = "pin/"


class Annotation(NamedTuple):
    """Pin of a version, or pause of learning.

    Attributes:
        active: True for a pin and while learning is paused.
        at: ISO 8601.
        who: user@host, or "learner".
        why: reason given.
    """

    active: bool
    at: str
    who: str
    why: str


def learning_annotation(annotation: Annotation) -> Output:
    """Return the record that pauses learning, or ends the pause."""
    return Output("models", 0, LEARNING_KEY.encode(), orjson.dumps(annotation._asdict()))


def pin_annotation(version: int, annotation: Annotation | None) -> Output:
    """Return the record that pins a version, or removes its pin when `annotation` is None."""
    return Output(
        "models",
        0,
        f"{PIN_PREFIX}{version}".encode(),
        None if annotation is None else orjson.dumps(annotation._asdict()),
    )


def pinned_version(key: str) -> int | None:
    """Return the version that a key pins, or None for another key.

    >>> pinned_version("pin/12"), pinned_version("version/12")
    (12, None)
    """
    number = key.removeprefix(PIN_PREFIX)
    return int(number) if number != key and number.isdecimal() else None


def decode_annotation(value: bytes) -> Annotation:
    """Return the annotation in a JSON record.

    Raises:
        ModelError: the record is not an annotation.
    """
    try:
        return Annotation(**orjson.loads(value))
    except (ValueError, TypeError):
        raise ModelError(
            "an annotation on the models topic cannot be read",
            "The topic was modified by another program. Restore the record from a backup",
        ) from None


def version_change_audit(name: str, control: Control, at: int, before: int | None) -> Output:
    """Return the audit entry of a rollback or promotion.

    Args:
        name: name of the pipeline.
        control: the decision.
        at: Unix milliseconds.
        before: version served before, None if there was none.
    """
    return decision_audit(
        name,
        control,
        at,
        f"version {control.version}",
        before=_version_text(before),
        after=_version_text(control.version),
        identity=f"{control.command}-{control.decision}",
    )


def pause_records(name: str, control: Control, at: int) -> list[Output]:
    """Return the annotation and the audit entry of a pause of learning."""
    annotation = Annotation(True, control.at, control.who, control.why)
    return [
        learning_annotation(annotation),
        decision_audit(name, control, at, "learning", before="learning", after="paused"),
    ]


def decision_audit(
    name: str,
    control: Control,
    at: int,
    subject: str,
    *,
    before: str,
    after: str,
    identity: str = "",
) -> Output:
    """Return the audit entry of a decision.

    Args:
        name: name of the pipeline.
        control: the decision.
        at: Unix milliseconds.
        subject: version or state that the decision changed.
        before: its state before.
        after: its state after.
        identity: distinguishes two entries of the same kind and time.
    """
    operation: ModelOperation = "train" if control.command == "trained" else control.command
    return AuditEntry(
        operation,
        at=at,
        who=control.who,
        what=subject,
        why=control.why,
        before=before,
        after=after,
        identity=identity,
        options={} if control.since is None else {"since": str(control.since)},
    ).output(name)


def _version_text(version: int | None) -> str:
    return "none" if version is None else f"version {version}"
