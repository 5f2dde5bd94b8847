"""Guesses a pipeline from the samples of a topic of events and, perhaps, of one of labels."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from stream_app.errors import InputError
from stream_app.formatting import counted
from stream_app.offline.event_order import EventOrder
from stream_app.records import Record
from stream_app.sources import Constant, FieldOrigin, LocalTime, RecordTimestamp
from stream_app.starter.column_profiles import Column
from stream_app.starter.label_links import LabelLink, find_link, row_texts
from stream_app.starter.pipeline_guess import (
    LabelTiming,
    LabelValues,
    PipelineGuess,
    guess_features,
    guess_lateness,
    guess_timing,
    guess_values,
)
from stream_app.starter.role_guesses import (
    ChosenColumns,
    ColumnRole,
    guess_event_time,
    guess_label,
    is_id,
    is_later_time,
    nearest_id,
    possible_ids,
    seems_label,
    seems_time,
    time_format,
)
from stream_app.starter.table_sample import TableSample
from stream_app.starter.topic_columns import TopicColumns

CHOOSE = "CHOOSE: "
"""Beginning of the reasons of what could not be guessed."""

_LABEL = "label"
_HORIZON = timedelta(days=7)
_IN_ORDER = 0.99
_NEGATIVE = ("0", "0.0", "false", "no")
Origins = dict[str, FieldOrigin]


class SourceGuess(NamedTuple):
    """Declaration of a source.

    Attributes:
        columns: columns of its topic.
        fields: origins of the fields that do not come from the same name.
        sample: records to try the pipeline on, in order of their times.
    """

    columns: TopicColumns
    fields: Origins
    sample: list[Record]


@dataclass(frozen=True)
class TopicGuess:
    """Guessed pipeline with sources.

    Attributes:
        pipeline: what it has in common with the pipeline of a table.
        key: column of K, None if it is the event id.
        key_reason: reason of the key.
        absent: label of events without one, None if there is none.
        events: source of events.
        labels: source of labels, None if no topic was given.
    """

    pipeline: PipelineGuess
    key: ColumnRole | None
    key_reason: str
    absent: str | None
    events: SourceGuess
    labels: SourceGuess | None

    def choices(self) -> Iterator[str]:
        """Yield what the user must choose."""
        guess = self.pipeline
        for reason in (
            guess.event_id.reason,
            guess.event_time.reason,
            self.key_reason,
            guess.label.reason,
            guess.timing.reason,
            guess.timing.horizon_reason,
        ):
            if reason.startswith(CHOOSE):
                yield reason.removeprefix(CHOOSE)


class _Labels(NamedTuple):
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


def guess_topics(
    events: TopicColumns, labels: TopicColumns | None, chosen: ChosenColumns
) -> TopicGuess:
    """Return the guessed pipeline of a topic of events and, if there is one, a topic of labels.

    Raises:
        InputError: a field that the user has named is not there or cannot have its role, or no
            field of the labels' topic seems to be the label.
    """
    event_time, time_origin = _event_time(events, chosen.event_time)
    link = _event_id(events, labels, chosen, event_time.column)
    event_id = link.event_id
    key, key_reason, label_key = _key(events, labels, link)
    order = events.order(event_time.column.times)
    found = (
        _without_labels(event_time, order)
        if labels is None
        else _labels(labels, link, event_time.column, order, chosen.label)
    )
    taken = {event_time.column.name, event_id.column.name, *([key.column.name] if key else [])}
    others = [one for one in events.columns if one.name not in taken]
    numbers, words, left_out = guess_features(
        [one for one in others if not seems_label(one)], found.aligned, found.values
    )
    left_out += [
        ColumnRole(one, "it seems to be a label, which is not known when the event happens")
        for one in others
        if seems_label(one)
    ]
    # More records come, and any field of them may be missing.
    sample = TableSample(events.columns, len(events.sample.rows), events.sample.total + 1)
    pipeline = PipelineGuess(
        sample, event_id, event_time, found.label, found.values, found.timing,
        numbers, words, left_out, order,
    )  # fmt: skip
    used = [event_id, *([key] if key else []), *numbers, *words]
    fields = _origins(events, [role.column for role in used])
    if time_origin is not None:
        fields[event_time.column.name] = time_origin
    event_source = SourceGuess(events, fields, events.sorted_records(event_time.column.times))
    label_source = None
    if labels is not None and found.timing.time is not None:
        if label_key is not None and key is not None and label_key != key.column.name:
            found.fields[key.column.name] = label_key
        times, linked = found.timing.time.times, link.linked_rows()
        label_source = SourceGuess(labels, found.fields, labels.sorted_records(times, linked))
    return TopicGuess(pipeline, key, key_reason, found.absent, event_source, label_source)


def _origins(topic: TopicColumns, columns: list[Column]) -> Origins:
    found = {column.name: topic.origin(column) for column in columns}
    return {name: origin for name, origin in found.items() if origin is not None}


def _in_milliseconds(column: Column) -> Column:
    """Return a column of times as sources give them."""
    return Column(column.name, "integer", column.times, "timestamp-millis")


def _time_reason(topic: TopicColumns, column: Column) -> str:
    """Return how times are written; times without an offset need a zone."""
    if not isinstance(topic.time_origin(column), LocalTime):
        return time_format(column)
    return (
        f"{CHOOSE}the times have no offset and are read in UTC: put their zone into LocalTime"
        f"{topic.shift(column)}; {time_format(column)}"
    )


def _event_time(topic: TopicColumns, chosen: str | None) -> tuple[ColumnRole, FieldOrigin | None]:
    named = topic.find(chosen, "--time")
    try:
        role = guess_event_time(topic.columns, None if named is None else named.name)
    except InputError:
        if named is not None:
            raise
        reason = (
            f"{CHOOSE}no field is a time that is never missing, so the timestamp of the Kafka "
            "record is used, which is often that of sending; name a time in fields if there is one"
        )
        return ColumnRole(topic.timestamp, reason), RecordTimestamp()
    reason = role.reason.replace(time_format(role.column), _time_reason(topic, role.column))
    # A choice stands at the beginning.
    if CHOOSE in reason:
        reason = CHOOSE + reason.replace(CHOOSE, "")
    return ColumnRole(_in_milliseconds(role.column), reason), topic.time_origin(role.column)


# --- Id and key -----------------------------------------------------------------------------------


def _event_id(
    events: TopicColumns, labels: TopicColumns | None, chosen: ChosenColumns, time: Column
) -> LabelLink:
    """Return the id of the events and, with labels, where these have it."""
    named = events.find(chosen.event_id, "--id")
    if named is None:
        taken = [time.name, *(one.name for one in events.columns if seems_time(one))]
        possible = possible_ids([*events.columns, *_own_key(events)], taken)
    else:
        possible = [named]
        if named.type not in ("integer", "text") or named.nulls:
            raise InputError(
                f"{chosen.event_id} cannot be the id: it has missing values or is no integer or "
                "text",
                "Name another field with --id",
            )
    if not possible:
        reason = (
            f"{CHOOSE}no field identifies an event{nearest_id(events.columns, [time.name])}; so "
            "each record is an event of its own, also one that is sent twice; name a field, or "
            "several as in event_id=(...)"
        )
        return find_link([events.coordinates], labels, reason)
    best = max(possible, key=is_id)
    ranked = sorted(possible, key=lambda one: one is not best)
    return find_link(ranked, labels, "chosen with --id; " if named else "")


def _own_key(topic: TopicColumns) -> list[Column]:
    """Return the column of the key, if it can be used and no field has the same texts."""
    if topic.key.type == "empty" or not topic.has_plain_keys or _equal_columns(topic):
        return []
    return [topic.key]


def _equal_columns(topic: TopicColumns) -> list[Column]:
    """Return the columns that equal the records' keys, the best name first."""
    keys = topic.key.values
    keyed = sum(key is not None for key in keys)
    if keyed < len(keys):
        return []
    found = [
        column
        for column in topic.columns
        if column.type in ("integer", "text")
        and sum(text == key for text, key in zip(row_texts(column), keys, strict=True)) == keyed
    ]
    return sorted(found, key=lambda one: not is_id(one))


def _key(
    events: TopicColumns, labels: TopicColumns | None, link: LabelLink
) -> tuple[ColumnRole | None, str, FieldOrigin | None]:
    """Return K if it is not the event id, the reason, and where labels have it."""
    equal, event_id = _equal_columns(events), link.event_id.column
    if any(one is event_id for one in equal) or event_id is events.key:
        return None, "the event id, which is the key of the records", None
    if not equal:
        return None, f"the event id; {_keyless(events)}", None
    column = equal[0]
    count = f"it equals the key of {len(events.sample.rows):,} sampled records"
    if labels is None:
        return ColumnRole(column, count), f"{count}; labels need it, too", None
    origin, reason = link.find_key(labels, column)
    if origin is None:
        return None, f"the event id: the records' key, {column.name}, is not in the labels", None
    return ColumnRole(column, count), f"{count}; {reason}", origin


def _keyless(topic: TopicColumns) -> str:
    if topic.key.type == "empty":
        return "the records have no keys"
    return "no field equals the records' key"


# --- Labels ---------------------------------------------------------------------------------------


def _without_labels(event_time: ColumnRole, order: EventOrder) -> _Labels:
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
    return _Labels(ColumnRole(column, reason), column, values, timing, None, {})


def _labels(
    topic: TopicColumns,
    link: LabelLink,
    event_time: Column,
    order: EventOrder,
    chosen: str | None,
) -> _Labels:
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
    return _Labels(label, aligned, values, timing, absent, fields)


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
        reason = _time_reason(topic, best)
        if pairs[best.name].total:
            reason += f"; {pairs[best.name]}"
        return ColumnRole(_in_milliseconds(best), reason), topic.time_origin(best)
    after = link.after(event_time, topic.timestamp)
    names = ", ".join(one.name for one in times)
    reason = f"no field is a time after the event{f' ({names})' if names else ''}, so the timestamp"
    reason += " of the Kafka record is used"
    if after.share < _IN_ORDER:
        reason = f"{CHOOSE}{reason}, but {after}; give the labels a time"
    else:
        reason = f"{CHOOSE}{reason}; {after}" if after.total else f"{CHOOSE}{reason}"
    return ColumnRole(topic.timestamp, reason), RecordTimestamp()
