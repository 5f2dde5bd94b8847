"""Decisions about versions and learning: each is one transaction, in the log, in the registry and in the audit."""

from collections.abc import Callable
from typing import Literal, NamedTuple

from stream_app.clock import now_ms
from stream_app.core.learning.control_record import Control, ControlAct
from stream_app.errors import DecisionError
from stream_app.formatting import iso_time
from stream_app.model_admin.model_admin import ModelAdmin, changed_meanwhile
from stream_app.model_store.annotations import Annotation, learning_mark, pin_mark
from stream_app.model_store.decision_records import audited, held, switched
from stream_app.model_store.manifest import ORDERED_KEY, Alias, Manifest, encode_alias
from stream_app.model_store.model_registry import ModelRegistry
from stream_app.records import Output
from stream_app.telemetry.operator_identity import operator

Switch = Literal["rollback", "promote"]
_LIST = "See `stream-app models list PIPELINE`"


class Reason(NamedTuple):
    """Who decides, when (epoch ms) and why."""

    who: str
    at: int
    why: str

    def mark(self, *, held: bool = True) -> Annotation:
        """What it leaves in the registry."""
        return Annotation(held, iso_time(self.at), self.who, self.why)


def reason(why: str) -> Reason:
    """For a decision that this user takes now."""
    return Reason(operator(), now_ms(), why)


def switch(
    desk: ModelAdmin,
    seen: ModelRegistry,
    act: Switch,
    to: Manifest,
    why: Reason,
    *,
    since: int | None = None,
    hold: bool = False,
) -> int:
    """Have another version served; returns how many such decisions there have been with this one.

    `seen` is the registry that it was decided on: FencedError if somebody else has rolled back or promoted since, or
    the version is gone. With `since` the examples from there on are learned again from that version, with `hold`
    nothing is learned until it is resumed.
    """
    _check_since(desk, to, since)

    def make(now: ModelRegistry) -> list[Output]:
        if (now.epoch, now.ordered) != (seen.epoch, seen.ordered) or now.versions.get(
            to.version
        ) != to:
            raise changed_meanwhile()
        if now.served == to.version:
            raise _already_served(to.version)
        epoch = now.epoch + 1
        control = _control(act, to.version, epoch, why, since)
        outputs = [
            control.output(),
            Output("models", 0, ORDERED_KEY.encode(), encode_alias(Alias(to.version, epoch))),
            switched(desk.name, control, why.at, now.served),
        ]
        return outputs + (_hold(desk, now, epoch, why) if hold and not now.held else [])

    refuse_served(seen, to.version)
    desk.decide(make)
    return seen.epoch + 1


def refuse_served(registry: ModelRegistry, version: int) -> None:
    """DecisionError if this version is served already."""
    if registry.served == version:
        raise _already_served(version)


def pin(desk: ModelAdmin, version: int, why: Reason) -> None:
    """Keep a version whatever its age. DecisionError if it is pinned already, ModelError if there is none."""

    def make(now: ModelRegistry) -> list[Output]:
        now.manifest(version)
        if version in now.pins:
            raise DecisionError(
                f"Version {version} is pinned already, by {now.pins[version].who}", _LIST
            )
        return _marked(
            desk, "pin", version, now, why, pin_mark(version, why.mark()), "not pinned", "pinned"
        )

    _decide_checked(desk, make)


def unpin(desk: ModelAdmin, version: int, why: Reason) -> None:
    """Let a version go when its time comes. DecisionError if it is not pinned."""

    def make(now: ModelRegistry) -> list[Output]:
        if version not in now.pins:
            raise DecisionError(f"Version {version} is not pinned", _LIST)
        return _marked(
            desk, "unpin", version, now, why, pin_mark(version, None), "pinned", "not pinned"
        )

    _decide_checked(desk, make)


def hold(desk: ModelAdmin, why: Reason) -> None:
    """Learn nothing from here on in the log. DecisionError if learning is held already."""

    def make(now: ModelRegistry) -> list[Output]:
        if now.held and now.learning is not None:
            raise DecisionError(
                f"Learning is held already, by {now.learning.who} since {now.learning.at}: {now.learning.why}",
                "Resume it first to hold it for another reason",
            )
        return _hold(desk, now, now.epoch, why)

    _decide_checked(desk, make)


def resume(desk: ModelAdmin, why: Reason, since: int | None = None) -> None:
    """Learn again, with `since` also what was skipped from that offset on. DecisionError if learning is not held."""
    _check_in_log(desk, since)

    def make(now: ModelRegistry) -> list[Output]:
        if not now.held:
            raise DecisionError("Learning is not held", "See `stream-app learning status PIPELINE`")
        control = _control("resume", None, now.epoch, why, since)
        act = audited(desk.name, control, why.at, "learning", "held", "learning")
        return [control.output(), learning_mark(why.mark(held=False)), act]

    _decide_checked(desk, make)


def _decide_checked(desk: ModelAdmin, make: Callable[[ModelRegistry], list[Output]]) -> None:
    """First look whether it is refused anyway, which takes no right to write."""
    make(desk.registry())
    desk.decide(make)


def _hold(desk: ModelAdmin, now: ModelRegistry, epoch: int, why: Reason) -> list[Output]:
    control = _control("hold", None, epoch, why)
    return [control.output(), *held(desk.name, control, why.at)]


def _marked(
    desk: ModelAdmin,
    act: Literal["pin", "unpin"],
    version: int,
    now: ModelRegistry,
    why: Reason,
    mark: Output,
    before: str,
    after: str,
) -> list[Output]:
    control = _control(act, version, now.epoch, why)
    identity = f"{act}-{version}-{why.at}"
    return [
        control.output(),
        mark,
        audited(desk.name, control, why.at, f"version {version}", before, after, identity),
    ]


def _control(
    act: ControlAct, version: int | None, epoch: int, why: Reason, since: int | None = None
) -> Control:
    return Control(act, version, epoch, iso_time(why.at), why.who, why.why, since)


def _already_served(version: int) -> DecisionError:
    return DecisionError(f"Version {version} is served already", _LIST)


def _check_since(desk: ModelAdmin, to: Manifest, since: int | None) -> None:
    _check_in_log(desk, since)
    if since is not None and to.origin == "learned" and since < to.version:
        raise DecisionError(
            f"Version {to.version} has learned the examples before offset {to.version}, and would learn those from "
            f"{since} on twice",
            f"Say --since {to.version}, or a later offset",
        )


def _check_in_log(desk: ModelAdmin, since: int | None) -> None:
    if since is None:
        return
    low, high = desk.ends("examples")
    if not low <= since <= high:
        raise DecisionError(
            f"{desk.topic('examples')} has the offsets {low} to {high}, and {since} is none of them",
            "Correct --since",
        )
