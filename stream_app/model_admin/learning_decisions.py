"""Decisions about learning: pause, resume, exclude and include.

Each is one transaction that writes a control record to the log of examples, an annotation to the
registry, and an audit entry.
"""

from collections.abc import Callable

from stream_app.core.learning.control_commands import Control, ControlCommand
from stream_app.core.learning.learning_rules import MAX_EXCLUSIONS, Exclusion
from stream_app.errors import DecisionError
from stream_app.formatting import iso_time
from stream_app.model_admin.model_admin import ModelAdmin
from stream_app.model_store.annotations import ExclusionAnnotation, exclusion_annotation
from stream_app.model_store.manifest import Manifest
from stream_app.model_store.model_registry import (
    ModelRegistry,
    Reason,
    decision_audit,
    learning_records,
)
from stream_app.records import Output

_STATUS = "See `stream-app learning status PIPELINE`"


def pause(admin: ModelAdmin, why: Reason, source: str | None = None) -> None:
    """Pause learning from the present end of the log, as a whole or from one source of labels.

    Raises:
        DecisionError: it is paused already.
    """

    def make(now: ModelRegistry) -> list[Output]:
        last = now.learning if source is None else now.source_learning.get(source)
        if last is not None and last.active:
            raise DecisionError(
                f"Learning{_of(source)} is paused already, by {last.who} since {last.at}: "
                f"{last.why}",
                "Resume it first to pause it for another reason",
            )
        return pause_outputs(admin, now.decision, why, source)

    write_decision(admin, make)


def resume(
    admin: ModelAdmin, why: Reason, since: int | None = None, source: str | None = None
) -> None:
    """Resume learning, with `since` also of the skipped examples from that offset.

    Raises:
        DecisionError: learning is not paused, or `since` is outside the log, or learning as a whole
            stays paused, so that nothing can be relearned.
    """
    check_in_log(admin, since)

    def make(now: ModelRegistry) -> list[Output]:
        if not (now.paused if source is None else source in now.rules.paused_sources):
            raise DecisionError(f"Learning{_of(source)} is not paused", _STATUS)
        if source is not None and since is not None and now.paused:
            raise DecisionError(
                "Learning as a whole is paused, so that no example can be relearned",
                "Resume learning without --source first, or leave out --since",
            )
        control = make_control("resume", None, now.decision, why, since)._replace(source=source)
        return [control.output(), *learning_records(admin.name, control, why.at)]

    write_decision(admin, make)


def exclude(
    admin: ModelAdmin, start: int, end: int, why: Reason, source: str | None = None
) -> tuple[Exclusion, Manifest | None]:
    """Exclude the examples of a span of label time from learning.

    Args:
        start: first label time in Unix milliseconds.
        end: label time after the last one.
        source: source of the labels, None for all.

    Returns:
        The exclusion, and the newest version that the served one descends from, or is, and that
        has learned no label time of the span or later; None if there is none.

    Raises:
        DecisionError: exactly this is excluded already, or there are too many exclusions.
    """
    made: list[tuple[Exclusion, Manifest | None]] = []

    def make(now: ModelRegistry) -> list[Output]:
        rules = now.rules
        for one in rules.exclusions:
            if (one.start, one.end, one.source) == (start, end, source):
                raise DecisionError(
                    f"This is excluded already, by {one.who} at {one.at}, as number "
                    f"{one.number}: {one.why}",
                    _STATUS,
                )
        if len(rules.exclusions) >= MAX_EXCLUSIONS:
            raise DecisionError(
                f"There are {len(rules.exclusions)} exclusions already, of at most "
                f"{MAX_EXCLUSIONS}",
                "Withdraw those that are no longer needed: "
                "`stream-app learning include PIPELINE NUMBER`",
            )
        number = rules.last_exclusion + 1
        exclusion = Exclusion(number, start, end, source, iso_time(why.at), why.who, why.why)
        made.append((exclusion, _version_before(now, start)))
        return _exclusion_records(admin, "exclude", now, ExclusionAnnotation(exclusion), why)

    write_decision(admin, make)
    return made[-1]


def include(admin: ModelAdmin, number: int, why: Reason) -> Exclusion:
    """Withdraw an exclusion, and return it.

    Raises:
        DecisionError: there is no such exclusion in force.
    """
    made: list[Exclusion] = []

    def make(now: ModelRegistry) -> list[Output]:
        found = now.exclusions.get(number)
        if found is None or found.withdrawn is not None:
            cause = "does not exist" if found is None else "is withdrawn already"
            raise DecisionError(f"Exclusion {number} {cause}", _STATUS)
        made.append(found.exclusion)
        withdrawn = found._replace(withdrawn=why.annotation())
        return _exclusion_records(admin, "include", now, withdrawn, why)

    write_decision(admin, make)
    return made[-1]


def span_text(exclusion: Exclusion) -> str:
    """Return the labels that are excluded, in words.

    >>> span_text(Exclusion(1, 0, 3_600_000, "bank", "", "", ""))
    'labels of bank from 1970-01-01T00:00:00Z to 1970-01-01T01:00:00Z'
    """
    of = "" if exclusion.source is None else f" of {exclusion.source}"
    start, end = (f"{iso_time(one)[:19]}Z" for one in (exclusion.start, exclusion.end))
    return f"labels{of} from {start} to {end}"


def write_decision(admin: ModelAdmin, make: Callable[[ModelRegistry], list[Output]]) -> None:
    """Write a decision; one that is rejected needs no right to write."""
    make(admin.registry())
    admin.decide(make)


def pause_outputs(
    admin: ModelAdmin, decision: int, why: Reason, source: str | None = None
) -> list[Output]:
    """Return the records that pause learning."""
    control = make_control("pause", None, decision, why)._replace(source=source)
    return [control.output(), *learning_records(admin.name, control, why.at)]


def make_control(
    command: ControlCommand,
    version: int | None,
    decision: int,
    why: Reason,
    since: int | None = None,
) -> Control:
    """Return the control record of a decision."""
    return Control(command, version, decision, iso_time(why.at), why.who, why.why, since)


def check_in_log(admin: ModelAdmin, since: int | None) -> None:
    """Raise `DecisionError` if there is an offset that is outside the log of examples."""
    if since is None:
        return
    low, high = admin.ends("examples")
    if not low <= since <= high:
        raise DecisionError(
            f"Offset {since} is outside {admin.topic('examples')}, "
            f"which has the offsets {low} to {high}",
            "Correct --since",
        )


def _exclusion_records(
    admin: ModelAdmin,
    command: ControlCommand,
    now: ModelRegistry,
    annotated: ExclusionAnnotation,
    why: Reason,
) -> list[Output]:
    number, start, end, source, *_ = annotated.exclusion
    control = make_control(command, None, now.decision, why)._replace(
        exclusion=number, start=start, end=end, source=source
    )
    audit = decision_audit(
        admin.name,
        control,
        why.at,
        f"exclusion {number}, {span_text(annotated.exclusion)}",
        identity=f"{command}-{number}",
    )
    return [control.output(), exclusion_annotation(annotated), audit]


def _version_before(registry: ModelRegistry, label_time: int) -> Manifest | None:
    """Return the newest version, of the served one and its ancestors, without later labels."""
    served = registry.versions.get(registry.served) if registry.served is not None else None
    if served is None:
        return None
    return next(
        (
            one
            for one in (served, *registry.ancestors(served.version))
            if one.learned_through is None or one.learned_through < label_time
        ),
        None,
    )


def _of(source: str | None) -> str:
    return "" if source is None else f" from {source}"
