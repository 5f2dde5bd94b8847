"""Guesses a pipeline from the samples of a topic of events and, perhaps, of one of labels."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from stream_app.errors import InputError
from stream_app.records import Record
from stream_app.sources import FieldOrigin, RecordTimestamp
from stream_app.starter.column_profiles import Column
from stream_app.starter.label_guess import guess_labels, no_labels
from stream_app.starter.label_links import LabelLink, find_link, row_texts
from stream_app.starter.pipeline_guess import (
    PipelineGuess,
    guess_features,
)
from stream_app.starter.role_guesses import (
    CHOOSE,
    ChosenColumns,
    ColumnRole,
    guess_event_time,
    is_id,
    nearest_id,
    possible_ids,
    seems_label,
    seems_time,
    time_format,
)
from stream_app.starter.table_sample import TableSample
from stream_app.starter.topic_columns import Origins, TopicColumns, in_milliseconds


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
        no_labels(event_time, order)
        if labels is None
        else guess_labels(labels, link, event_time.column, order, chosen.label)
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
    reason = role.reason.replace(time_format(role.column), topic.time_reason(role.column))
    # A choice stands at the beginning.
    if CHOOSE in reason:
        reason = CHOOSE + reason.replace(CHOOSE, "")
    return ColumnRole(in_milliseconds(role.column), reason), topic.time_origin(role.column)


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
