"""Decisions about versions and learning: rollback, promote, pin, unpin, pause and resume.

Each is one transaction that writes a control record to the log of examples, an alias or annotation
to the registry, and an audit entry.
"""

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

from stream_app.core.learning.control_commands import Control, ControlCommand
from stream_app.core.monitoring.audit_entry import AuditEntry
from stream_app.core.monitoring.partition_watermark import window_command
from stream_app.errors import DecisionError
from stream_app.formatting import counted, iso_time
from stream_app.model_admin.model_admin import ModelAdmin, concurrent_decision
from stream_app.model_store.manifest import REQUESTED_KEY, Alias, Manifest, encode_alias
from stream_app.model_store.model_registry import (
    ModelRegistry,
    Reason,
    decision_audit,
    learning_annotation,
    pause_records,
    pin_annotation,
    version_change_audit,
)
from stream_app.records import Output
from stream_app.transfer.record_rendering import sanitize_for_terminal

VersionChange = Literal["rollback", "promote"]
_LIST = "See `stream-app models list PIPELINE`"


def change_version(
    admin: ModelAdmin,
    seen: ModelRegistry,
    command: VersionChange,
    to: Manifest,
    why: Reason,
    *,
    since: int | None = None,
    pause: bool = False,
) -> int:
    """Roll back or promote to another version.

    Args:
        seen: the registry on which the decision is based.
        command: "rollback" or "promote".
        to: manifest of the version to serve.
        since: relearn the examples from this offset, starting from that version.
        pause: also pause learning.

    Returns:
        The number of the decision: how many rollbacks and promotions there have been.

    Raises:
        DecisionError: the version is served already, or would learn examples twice.
        FencedError: somebody else has rolled back or promoted since, or the version is gone.
    """
    _check_relearning(admin, to, since)

    def make(now: ModelRegistry) -> list[Output]:
        if (now.decision, now.requested) != (seen.decision, seen.requested) or now.versions.get(
            to.version
        ) != to:
            raise concurrent_decision()
        check_not_served(now, to.version)
        decision = now.decision + 1
        control = _control(command, to.version, decision, why, since)
        alias = encode_alias(Alias(to.version, decision))
        outputs = [
            control.output(),
            Output("models", 0, REQUESTED_KEY.encode(), alias),
            version_change_audit(admin.name, control, why.at, now.served),
        ]
        return outputs + (_pause(admin, decision, why) if pause and not now.paused else [])

    check_not_served(seen, to.version)
    admin.decide(make)
    return seen.decision + 1


def check_not_served(registry: ModelRegistry, version: int) -> None:
    """Raise `DecisionError` if this version is served already."""
    if registry.served == version:
        raise DecisionError(f"Version {version} is served already", _LIST)


def pin(admin: ModelAdmin, version: int, why: Reason) -> None:
    """Pin a version, which keeps it whatever its age.

    Raises:
        DecisionError: it is pinned already.
        ModelError: it does not exist.
    """

    def make(now: ModelRegistry) -> list[Output]:
        now.manifest(version)
        if version in now.pins:
            raise DecisionError(
                f"Version {version} is pinned already, by {now.pins[version].who}", _LIST
            )
        return _pin_records(admin, "pin", version, now, why)

    _decide(admin, make)


def unpin(admin: ModelAdmin, version: int, why: Reason) -> None:
    """Remove the pin of a version.

    Raises:
        DecisionError: it is not pinned.
    """

    def make(now: ModelRegistry) -> list[Output]:
        if version not in now.pins:
            raise DecisionError(f"Version {version} is not pinned", _LIST)
        return _pin_records(admin, "unpin", version, now, why)

    _decide(admin, make)


def pause(admin: ModelAdmin, why: Reason) -> None:
    """Pause learning from the present end of the log.

    Raises:
        DecisionError: learning is paused already.
    """

    def make(now: ModelRegistry) -> list[Output]:
        if now.paused and now.learning is not None:
            raise DecisionError(
                f"Learning is paused already, by {now.learning.who} since {now.learning.at}: "
                f"{now.learning.why}",
                "Resume it first to pause it for another reason",
            )
        return _pause(admin, now.decision, why)

    _decide(admin, make)


def resume(admin: ModelAdmin, why: Reason, since: int | None = None) -> None:
    """Resume learning, with `since` also of the skipped examples from that offset.

    Raises:
        DecisionError: learning is not paused, or `since` is outside the log.
    """
    _check_in_log(admin, since)

    def make(now: ModelRegistry) -> list[Output]:
        if not now.paused:
            raise DecisionError(
                "Learning is not paused", "See `stream-app learning status PIPELINE`"
            )
        control = _control("resume", None, now.decision, why, since)
        audit = decision_audit(
            admin.name, control, why.at, "learning", before="paused", after="learning"
        )
        return [control.output(), learning_annotation(why.annotation(active=False)), audit]

    _decide(admin, make)


def change_window(admin: ModelAdmin, length: int, why: Reason) -> None:
    """Change the length of the monitor's windows from the second midnight of event time on.

    Args:
        length: one of `LENGTHS_MS` in milliseconds.
    """
    audit = AuditEntry(
        "window",
        at=why.at,
        who=why.who,
        what="windows",
        why=why.why,
        after=f"{length // 60_000} min",
    )
    _decide(admin, lambda _: [window_command(length), audit.output(admin.name)])


def _decide(admin: ModelAdmin, make: Callable[[ModelRegistry], list[Output]]) -> None:
    """Write a decision; one that is rejected needs no right to write."""
    make(admin.registry())
    admin.decide(make)


def _pause(admin: ModelAdmin, decision: int, why: Reason) -> list[Output]:
    control = _control("pause", None, decision, why)
    return [control.output(), *pause_records(admin.name, control, why.at)]


def _pin_records(
    admin: ModelAdmin,
    command: Literal["pin", "unpin"],
    version: int,
    now: ModelRegistry,
    why: Reason,
) -> list[Output]:
    control = _control(command, version, now.decision, why)
    annotation = why.annotation() if command == "pin" else None
    states = ("not pinned", "pinned")
    before, after = states if command == "pin" else states[::-1]
    audit = decision_audit(
        admin.name,
        control,
        why.at,
        f"version {version}",
        before=before,
        after=after,
        identity=f"{command}-{version}-{why.at}",
    )
    return [control.output(), pin_annotation(version, annotation), audit]


def _control(
    command: ControlCommand,
    version: int | None,
    decision: int,
    why: Reason,
    since: int | None = None,
) -> Control:
    return Control(command, version, decision, iso_time(why.at), why.who, why.why, since)


def _check_relearning(admin: ModelAdmin, to: Manifest, since: int | None) -> None:
    _check_in_log(admin, since)
    if since is not None and to.origin == "learned" and since < to.version:
        raise DecisionError(
            f"Version {to.version} has learned the examples before offset {to.version}, "
            f"and would learn those from {since} on twice",
            f"Use --since {to.version}, or a later offset",
        )


def _check_in_log(admin: ModelAdmin, since: int | None) -> None:
    if since is None:
        return
    low, high = admin.ends("examples")
    if not low <= since <= high:
        raise DecisionError(
            f"Offset {since} is outside {admin.topic('examples')}, "
            f"which has the offsets {low} to {high}",
            "Correct --since",
        )


class LearningStatus(NamedTuple):
    """State of learning, and progress of the learner.

    Attributes:
        paused: True while learning is paused.
        since: time of the last pause or resumption, with its author `who` and reason `why`.
        learned_to: offset of the next example of the learner, None before it has run.
        log_end: end offset of the log of examples.
        newest: newest version.
        served: version in use.
    """

    paused: bool
    since: str | None
    who: str | None
    why: str | None
    learned_to: int | None
    log_end: int
    newest: int | None
    served: int | None

    def lines(self) -> Iterator[str]:
        """Yield the status as text."""
        if self.since is None:
            yield "Learning is active; it was never paused."
        else:
            state = "paused" if self.paused else "active"
            since = f"{self.since[:19]}Z"
            yield sanitize_for_terminal(
                f"Learning is {state} since {since}, by {self.who}: {self.why}"
            )
        behind = self.log_end - (self.learned_to or 0)
        done = "nothing yet" if self.learned_to is None else f"up to offset {self.learned_to:,}"
        yield (
            f"The learner has processed {done} of {self.log_end:,}: "
            f"at most {counted(behind, 'record')} behind."
        )
        yield f"Newest version: {_name(self.newest)}; served: {_name(self.served)}."


def learning_status(admin: ModelAdmin) -> LearningStatus:
    """Return the present state of learning."""
    registry = admin.registry()
    last = registry.learning
    since, who, why = (None, None, None) if last is None else (last.at, last.who, last.why)
    position, end = admin.learned_to(), admin.ends("examples")[1]
    newest = max(registry.versions, default=None)
    return LearningStatus(registry.paused, since, who, why, position, end, newest, registry.served)


def _name(version: int | None) -> str:
    return "none" if version is None else str(version)
