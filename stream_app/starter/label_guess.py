"""Guesses about the labels of a topic: label, values, and the time at which they became known."""

from datetime import timedelta
from typing import NamedTuple

from stream_app.errors import InputError
from stream_app.formatting import counted
from stream_app.offline.event_order import EventOrder
from stream_app.sources import Constant, FieldOrigin, RecordTimestamp
from stream_app.starter.column_profiles import Column
from stream_app.starter.label_links import LabelLink
from stream_app.starter.pipeline_guess import (
    LabelTiming,
    LabelValues,
    guess_lateness,
    guess_timing,
    guess_values,
)
from stream_app.starter.role_guesses import (
    CHOOSE,
    ColumnRole,
    guess_label,
    is_id,
    is_later_time,
    seems_label,
    seems_time,
)
from stream_app.starter.topic_columns import Origins, TopicColumns, in_milliseconds

_LABEL = "label"
_HORIZON = timedelta(days=7)
_IN_ORDER = 0.99
_NEGATIVE = ("0", "0.0", "false", "no")


class LabelGuess(NamedTuple):
    """Guesses about the labels.

    Attributes:
        label: column of the label in its own topic.
        aligned: label of each sampled event, None where there is none.
        values: meaning of the values.
        timing: time at which they become known.
        absent: label of events without one.
        fields: origins of the fields of the label's schema.
    """

    label: ColumnRole
    aligned: Column
    values: LabelValues
    timing: LabelTiming
    absent: str | None
    fields: Origins


def no_labels(event_time: ColumnRole, order: EventOrder) -> LabelGuess:
    """Return the labels that the user has to send, as no topic has them."""
    rows = len(event_time.column.values)
    column = Column(_LABEL, "boolean", [None] * rows)
    reason = (
        f"{CHOOSE}no topic of labels was given: send labels with `stream-app produce --labels`, or "
        "repeat `init` with --label-topic TOPIC"
    )
    horizon = f"{CHOOSE}how long after an event its label comes is not known: 7 days are assumed"
    lateness = guess_lateness(order)
    timing = LabelTiming(None, None, _HORIZON, lateness, "when the label became known", horizon)
    values = LabelValues("binary", None, None, "true or false")
    return LabelGuess(ColumnRole(column, reason), column, values, timing, None, {})


def guess_labels(
    topic: TopicColumns,
    link: LabelLink,
    event_time: Column,
    order: EventOrder,
    chosen: str | None,
) -> LabelGuess:
    """Return the guesses about the labels of a topic.

    Args:
        topic: columns of the labels.
        link: the event's id in labels.
        event_time: times of the events.
        order: distance of the events from being sorted.
        chosen: path or name of the label that the user has given.

    Raises:
        InputError: no field seems to be the label, or the chosen one cannot be it.
    """
    named = topic.find(chosen, "--label")
    known, known_origin = _known_at(topic, link, event_time, named)
    taken = {known.column.name, link.label_name}
    others = [one for one in topic.columns if one.name not in taken]
    fields: Origins = (
        {} if link.label_origin is None else {link.event_id.column.name: link.label_origin}
    )
    if known_origin is not None:
        fields[known.column.name] = known_origin
    label, values, absent, constant = _label(topic, others, named)
    label_origin = constant or topic.origin(label.column)
    if label_origin is not None:
        fields[label.column.name] = label_origin
    aligned = link.align(label.column)
    timing = _timing(event_time, aligned, known, link, order)
    return LabelGuess(label, aligned, values, timing, absent, fields)


def _timing(
    event_time: Column, aligned: Column, known: ColumnRole, link: LabelLink, order: EventOrder
) -> LabelTiming:
    if aligned.filled:
        times = ColumnRole(link.align(known.column), known.reason)
        return guess_timing(event_time, aligned, times, order)._replace(time=known.column)
    horizon = (
        f"{CHOOSE}no label of the sample has its event in the sample, so how long after an event "
        "its label comes is not known: 7 days are assumed"
    )
    return LabelTiming(known.column, None, _HORIZON, guess_lateness(order), known.reason, horizon)


def _label(
    topic: TopicColumns, others: list[Column], named: Column | None
) -> tuple[ColumnRole, LabelValues, str | None, Constant | None]:
    """Return the label, its values, the label of events without one, and its constant."""
    if named is not None:
        role = ColumnRole(named, "chosen with --label")
        if named.distinct == 1:
            return _only_positive(topic, named)
        return role, guess_values(named), None, None
    usable = [
        one for one in others if one.type != "other" and not (is_id(one) or _may_be_later(one))
    ]
    possible = [one for one in usable if one.distinct > 1]
    single = next((one for one in usable if one.distinct == 1 and seems_label(one)), None)
    if len(possible) == 1 and single is None:
        role = ColumnRole(possible[0], "it is the only other field")
    elif not any(one.distinct == 2 for one in possible) and (single or not possible):
        return _only_positive(topic, single)
    else:
        role = guess_label(possible, None, [])
    return role, guess_values(role.column), None, None


def _only_positive(
    topic: TopicColumns, column: Column | None
) -> tuple[ColumnRole, LabelValues, str, Constant]:
    """Return the label of a topic that has no negative ones: each record says true."""
    if column is not None and str(column.filled[0]).lower() in _NEGATIVE:
        raise InputError(
            f"{column.name} cannot be the label: all of the sample are {column.filled[0]}",
            "Wait until other labels have come, or name another field with --label",
        )
    seen = "its records have no label" if column is None else f"{column.name} has one value only"
    reason = (
        f"{CHOOSE}{seen}, so each record is taken as true, and an event without one as false "
        "(absent=False); correct it if other labels exist"
    )
    rows = len(topic.sample.rows)
    label = Column(column.name if column else _LABEL, "boolean", [True] * rows)
    values = LabelValues("binary", None, None, f"true {counted(rows, 'time')}")
    return ColumnRole(label, reason), values, "False", Constant(True)


def _may_be_later(column: Column) -> bool:
    """Return True if a column may be the time at which labels became known."""
    return seems_time(column) or (column.time_type is not None and is_later_time(column))


def _known_at(
    topic: TopicColumns, link: LabelLink, event_time: Column, label: Column | None
) -> tuple[ColumnRole, FieldOrigin | None]:
    """Return the time at which labels became known, and where it comes from."""
    times = [
        one
        for one in topic.columns
        if one is not label and one.name != link.label_name and not one.nulls and _may_be_later(one)
    ]
    pairs = {one.name: link.after(event_time, one) for one in times}
    possible = [one for one in times if pairs[one.name].share >= _IN_ORDER]
    if possible:
        best = max(possible, key=lambda one: (is_later_time(one), pairs[one.name].median))
        reason = topic.time_reason(best)
        if pairs[best.name].total:
            reason += f"; {pairs[best.name]}"
        return ColumnRole(in_milliseconds(best), reason), topic.time_origin(best)
    after = link.after(event_time, topic.timestamp)
    names = ", ".join(one.name for one in times)
    reason = f"no field is a time after the event{f' ({names})' if names else ''}, so the timestamp"
    reason += " of the Kafka record is used"
    if after.share < _IN_ORDER:
        reason = f"{CHOOSE}{reason}, but {after}; give the labels a time"
    else:
        reason = f"{CHOOSE}{reason}; {after}" if after.total else f"{CHOOSE}{reason}"
    return ColumnRole(topic.timestamp, reason), RecordTimestamp()
