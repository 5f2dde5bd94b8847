"""Decisions about versions and learning: each is one transaction, in the log, in the registry and in the audit."""

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

from stream_app.clock import now_ms
from stream_app.core.learning.examples_log import Control, ControlCommand
from stream_app.errors import DecisionError
from stream_app.formatting import counted, iso_time
from stream_app.model_admin.model_admin import ModelAdmin, changed_meanwhile
from stream_app.model_store.annotations import (
    Annotation,
    decision_audit,
    learning_annotation,
    pause_records,
    pin_annotation,
    version_change_audit,
)
from stream_app.model_store.manifest import REQUESTED_KEY, Alias, Manifest, encode_alias
from stream_app.model_store.model_registry import ModelRegistry
from stream_app.records import Output
from stream_app.telemetry.operator_identity import operator
from stream_app.transfer.record_rendering import harmless

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
        if (now.decision, now.requested) != (seen.decision, seen.requested) or now.versions.get(
            to.version
        ) != to:
            raise changed_meanwhile()
        if now.served == to.version:
            raise _already_served(to.version)
        epoch = now.decision + 1
        control = _control(act, to.version, epoch, why, since)
        outputs = [
            control.output(),
            Output("models", 0, REQUESTED_KEY.encode(), encode_alias(Alias(to.version, epoch))),
            version_change_audit(desk.name, control, why.at, now.served),
        ]
        return outputs + (_hold(desk, now, epoch, why) if hold and not now.paused else [])

    refuse_served(seen, to.version)
    desk.decide(make)
    return seen.decision + 1


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
            desk,
            "pin",
            version,
            now,
            why,
            pin_annotation(version, why.mark()),
            "not pinned",
            "pinned",
        )

    _decide_checked(desk, make)


def unpin(desk: ModelAdmin, version: int, why: Reason) -> None:
    """Let a version go when its time comes. DecisionError if it is not pinned."""

    def make(now: ModelRegistry) -> list[Output]:
        if version not in now.pins:
            raise DecisionError(f"Version {version} is not pinned", _LIST)
        return _marked(
            desk, "unpin", version, now, why, pin_annotation(version, None), "pinned", "not pinned"
        )

    _decide_checked(desk, make)


def hold(desk: ModelAdmin, why: Reason) -> None:
    """Learn nothing from here on in the log. DecisionError if learning is held already."""

    def make(now: ModelRegistry) -> list[Output]:
        if now.paused and now.learning is not None:
            raise DecisionError(
                f"Learning is held already, by {now.learning.who} since {now.learning.at}: {now.learning.why}",
                "Resume it first to hold it for another reason",
            )
        return _hold(desk, now, now.decision, why)

    _decide_checked(desk, make)


def resume(desk: ModelAdmin, why: Reason, since: int | None = None) -> None:
    """Learn again, with `since` also what was skipped from that offset on. DecisionError if learning is not held."""
    _check_in_log(desk, since)

    def make(now: ModelRegistry) -> list[Output]:
        if not now.paused:
            raise DecisionError("Learning is not held", "See `stream-app learning status PIPELINE`")
        control = _control("resume", None, now.decision, why, since)
        act = decision_audit(
            desk.name, control, why.at, "learning", before="paused", after="learning"
        )
        return [control.output(), learning_annotation(why.mark(held=False)), act]

    _decide_checked(desk, make)


def _decide_checked(desk: ModelAdmin, make: Callable[[ModelRegistry], list[Output]]) -> None:
    """First look whether it is refused anyway, which takes no right to write."""
    make(desk.registry())
    desk.decide(make)


def _hold(desk: ModelAdmin, now: ModelRegistry, epoch: int, why: Reason) -> list[Output]:
    control = _control("pause", None, epoch, why)
    return [control.output(), *pause_records(desk.name, control, why.at)]


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
    control = _control(act, version, now.decision, why)
    identity = f"{act}-{version}-{why.at}"
    return [
        control.output(),
        mark,
        decision_audit(
            desk.name,
            control,
            why.at,
            f"version {version}",
            before=before,
            after=after,
            identity=identity,
        ),
    ]


def _control(
    act: ControlCommand, version: int | None, epoch: int, why: Reason, since: int | None = None
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


class LearningStatus(NamedTuple):
    """`since`, `who` and `why` are of the last hold or resumption. `learned_to` and `log_end` are offsets of the log of
    examples, `learned_to` None before the learner has run; `newest` is the last version, `served` the one in use.
    """

    held: bool
    since: str | None
    who: str | None
    why: str | None
    learned_to: int | None
    log_end: int
    newest: int | None
    served: int | None

    def lines(self) -> Iterator[str]:
        """For people."""
        if self.since is None:
            yield "Learning goes on; it was never held."
        else:
            how = "is held" if self.held else "goes on"
            yield harmless(f"Learning {how} since {self.since[:19]}Z, by {self.who}: {self.why}")
        behind = self.log_end - (self.learned_to or 0)
        where = "nothing yet" if self.learned_to is None else f"up to offset {self.learned_to:,}"
        yield f"The learner has processed {where} of {self.log_end:,}: at most {counted(behind, 'record')} behind."
        yield f"Newest version: {_name(self.newest)}; served: {_name(self.served)}."


def learning_status(desk: ModelAdmin) -> LearningStatus:
    """As it is now; raises as `ModelAdmin`."""
    registry = desk.registry()
    mark = registry.learning
    since, who, why = (None, None, None) if mark is None else mark[1:]
    position, end = desk.learned_to(), desk.ends("examples")[1]
    newest = max(registry.versions, default=None)
    return LearningStatus(registry.paused, since, who, why, position, end, newest, registry.served)


def _name(version: int | None) -> str:
    return "none" if version is None else str(version)
