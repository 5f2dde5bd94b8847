"""Decisions about versions: rollback, promote, pin and unpin.

Each is one transaction that writes a control record to the log of examples, an alias or annotation
to the registry, and an audit entry. Those about learning are in `learning_decisions`.
"""

from typing import Literal

from stream_app.core.monitoring.audit_entry import AuditEntry
from stream_app.core.monitoring.partition_watermark import window_command
from stream_app.errors import DecisionError
from stream_app.model_admin.learning_decisions import (
    check_in_log,
    make_control,
    pause_outputs,
    write_decision,
)
from stream_app.model_admin.model_admin import ModelAdmin, concurrent_decision
from stream_app.model_store.annotations import pin_annotation
from stream_app.model_store.manifest import REQUESTED_KEY, Alias, Manifest, encode_alias
from stream_app.model_store.model_registry import (
    ModelRegistry,
    Reason,
    decision_audit,
    version_change_audit,
)
from stream_app.records import Output

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
        control = make_control(command, to.version, decision, why, since)
        alias = encode_alias(Alias(to.version, decision))
        outputs = [
            control.output(),
            Output("models", 0, REQUESTED_KEY.encode(), alias),
            version_change_audit(admin.name, control, why.at, now.served),
        ]
        return outputs + (pause_outputs(admin, decision, why) if pause and not now.paused else [])

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

    write_decision(admin, make)


def unpin(admin: ModelAdmin, version: int, why: Reason) -> None:
    """Remove the pin of a version.

    Raises:
        DecisionError: it is not pinned.
    """

    def make(now: ModelRegistry) -> list[Output]:
        if version not in now.pins:
            raise DecisionError(f"Version {version} is not pinned", _LIST)
        return _pin_records(admin, "unpin", version, now, why)

    write_decision(admin, make)


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
    write_decision(admin, lambda _: [window_command(length), audit.output(admin.name)])


def _pin_records(
    admin: ModelAdmin,
    command: Literal["pin", "unpin"],
    version: int,
    now: ModelRegistry,
    why: Reason,
) -> list[Output]:
    control = make_control(command, version, now.decision, why)
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


def _check_relearning(admin: ModelAdmin, to: Manifest, since: int | None) -> None:
    check_in_log(admin, since)
    if since is not None and to.origin == "learned" and since < to.version:
        raise DecisionError(
            f"Version {to.version} has learned the examples before offset {to.version}, "
            f"and would learn those from {since} on twice",
            f"Use --since {to.version}, or a later offset",
        )
