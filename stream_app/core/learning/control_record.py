"""Control records: decisions about a model, among the examples of `<pipeline>.examples`, so that the log is all."""

from typing import Any, Literal, NamedTuple, get_args

import orjson

from stream_app.records import Output

ControlAct = Literal["rollback", "promote", "hold", "resume", "pin", "unpin", "trained"]
CONTROL_KEY = b"control"
LEARNER = "learner"
"""Who decides when the learner does."""

SWITCHES: frozenset[ControlAct] = frozenset({"rollback", "promote"})
"""Acts that choose a version."""

_ACTS = frozenset(get_args(ControlAct))


class Control(NamedTuple):
    """A decision, by `who` ("user@host", or "learner") at `at` (ISO 8601), which takes effect at its place in the log.

    `version` is the one that it is about, `epoch` counts the rollbacks and promotions up to it. With `since` a rollback
    or a resumption has the examples from that offset on learned again.
    """

    act: ControlAct
    version: int | None
    epoch: int
    at: str
    who: str
    why: str
    since: int | None = None

    def encode(self) -> bytes:
        """As the JSON object that `<pipeline>.examples` carries under `CONTROL_KEY`."""
        return orjson.dumps({"kind": "control", **self._asdict()})

    def output(self) -> Output:
        """As the record to write."""
        return Output("examples", 0, CONTROL_KEY, self.encode())


def decode_control(value: bytes | None) -> Control | None:
    """The decision in a record of the log; None if it is something else."""
    if value is None or b'"control"' not in value:
        return None
    try:
        fields: dict[str, Any] = orjson.loads(value)
        if fields["kind"] != "control":
            return None
        control = Control(**{name: fields.get(name) for name in Control._fields})  # type: ignore[arg-type]
    except (ValueError, TypeError, KeyError):
        return None
    return control if _well_typed(control) else None


def control_in(key: bytes | None, value: bytes | None) -> Control | None:
    """The decision that a record of the log is, if it is one."""
    return decode_control(value) if key == CONTROL_KEY else None


def _well_typed(control: Control) -> bool:
    return (
        control.act in _ACTS
        and type(control.epoch) is int
        and type(control.version) in (int, type(None))
        and type(control.since) in (int, type(None))
        and all(type(text) is str for text in (control.at, control.who, control.why))
    )


def learner_orders(epoch: int, at: str, why: str, *, to: int | None = None) -> list[Output]:
    """What the learner itself decides at `at` (ISO 8601): to hold learning, and perhaps to roll back `to` a version.

    To be written in its own transaction, and obeyed when it is read back: the alias, the mark and the audit follow then
    (`stream_app.worker.roles.control_handling`). `epoch` is that of its state. If somebody else chooses a version before
    these come in the log, all of them are void; so they are if the same is ordered twice.
    """
    hold = Control("hold", None, epoch, at, LEARNER, why).output()
    return (
        [hold]
        if to is None
        else [hold, Control("rollback", to, epoch + 1, at, LEARNER, why).output()]
    )
