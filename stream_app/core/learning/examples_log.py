"""Records of the examples log: control records, and checked decoding of both kinds of records."""

from operator import itemgetter
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import orjson

from stream_app.core.published_records import Example
from stream_app.records import Output

# It imports River, which commands that only read the registry do not need.
if TYPE_CHECKING:
    from stream_app.core.evaluation.prediction_tasks import PredictionTask

ControlCommand = Literal["rollback", "promote", "pause", "resume", "pin", "unpin", "trained"]
CONTROL_KEY = b"control"

# Author of the control records that the learner itself writes.
LEARNER = "learner"

# Commands that select a version.
VERSION_CHANGES: frozenset[ControlCommand] = frozenset({"rollback", "promote"})

_COMMANDS = frozenset(get_args(ControlCommand))
_example_fields = itemgetter(*Example._fields)


class Control(NamedTuple):
    """Control record: a decision that takes effect at its offset in `<p>.examples`.

    Attributes:
        command: what to do.
        version: version that the command is about, or None.
        decision: number of rollbacks and promotions up to and including this one.
        at: time of the decision, ISO 8601.
        who: author, "user@host" or "learner".
        why: reason given by the author.
        since: first offset whose examples a rollback or resumption relearns; None for none.
    """

    command: ControlCommand
    version: int | None
    decision: int
    at: str
    who: str
    why: str
    since: int | None = None

    @property
    def needs_preparation(self) -> bool:
        """True if applying it takes loading a version or relearning examples."""
        return self.command in VERSION_CHANGES or (
            self.command == "resume" and self.since is not None
        )

    def encode(self) -> bytes:
        """Return the JSON object that `<p>.examples` carries under `CONTROL_KEY`."""
        return orjson.dumps({"kind": "control", **self._asdict()})

    def output(self) -> Output:
        """Return the record to write."""
        return Output("examples", 0, CONTROL_KEY, self.encode())


def decode_control(value: bytes | None) -> Control | None:
    """Return the control record that a value holds, or None if it holds anything else."""
    if value is None or b'"control"' not in value:
        return None
    try:
        fields: dict[str, Any] = orjson.loads(value)
        if fields["kind"] != "control":
            return None
        control = Control(**{name: fields.get(name) for name in Control._fields})  # type: ignore[arg-type]
    except (ValueError, TypeError, KeyError):
        return None
    return control if _has_control_types(control) else None


def control_in(key: bytes | None, value: bytes | None) -> Control | None:
    """Return the control record of a log record, or None if it is not one."""
    return decode_control(value) if key == CONTROL_KEY else None


def learner_commands(
    decision: int, at: str, why: str, *, rollback_to: int | None = None
) -> list[Output]:
    """Return the control records by which the learner pauses learning, and perhaps rolls back.

    They are written in their own transaction and applied when the learner reads them back; alias,
    annotation and audit entry follow then. All of them are void if somebody else selects a version
    before they come in the log, or if the same was requested twice.

    Args:
        decision: number of decisions in the learner's state.
        at: time, ISO 8601.
        why: reason for the audit.
        rollback_to: version to roll back to, or None to pause only.
    """
    pause = Control("pause", None, decision, at, LEARNER, why).output()
    if rollback_to is None:
        return [pause]
    return [pause, Control("rollback", rollback_to, decision + 1, at, LEARNER, why).output()]


def decode_example(value: bytes | None, task: "PredictionTask") -> Example | str:
    """Return the example that a value holds.

    Returns:
        The example, or the cause why there is none: "empty", "undecodable", "unknown-kind" or
        "wrong-type".
    """
    if value is None:
        return "empty"
    try:
        fields: dict[str, Any] = orjson.loads(value)
        if fields["kind"] != "example":
            return "unknown-kind"
        example = Example._make(_example_fields(fields))
    except (ValueError, TypeError, KeyError):
        return "undecodable"
    return example if _has_example_types(example, task) else "wrong-type"


def _has_control_types(control: Control) -> bool:
    return (
        control.command in _COMMANDS
        and type(control.decision) is int
        and type(control.version) in (int, type(None))
        and type(control.since) in (int, type(None))
        and all(type(text) is str for text in (control.at, control.who, control.why))
    )


def _has_example_types(example: Example, task: "PredictionTask") -> bool:
    return (
        task.is_label(example.label)
        and type(example.label_time) is int
        and type(example.event_time) is int
        and type(example.model_version) is int
        and type(example.features) is dict
        and task.valid_score(example.score) is not None
    )
