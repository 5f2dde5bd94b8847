"""Kinds of records in one topic: a field such as `type` tells events from other records."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from stream_app.starter.column_profiles import Column
from stream_app.starter.role_guesses import is_id, possible_ids
from stream_app.starter.topic_columns import RecordKind, TopicColumns, topic_columns
from stream_app.starter.topic_sample import TopicSample

_MAX_KINDS = 20
_MIN_RECORDS = 10


def columns_of_events(sample: TopicSample) -> TopicColumns:
    """Return the columns of a topic; of several kinds of records, those of the only one with an id.

    Without such a kind, or with an id in every record, all records are events.
    """
    columns = topic_columns(sample)
    if any(map(is_id, possible_ids(columns.columns, ()))):
        return columns
    for column in columns.columns:
        if column.type != "text" or column.nulls or not 1 < column.distinct <= _MAX_KINDS:
            continue
        found = _kind(columns, column)
        if found is not None:
            return found
    return columns


def _kind(columns: TopicColumns, column: Column) -> TopicColumns | None:
    """Return the columns of the records with one value of a column, if only they have an id."""
    candidates = []
    for value, count in Counter(column.filled).most_common():
        if count < _MIN_RECORDS:
            break
        chosen = [one == value for one in column.values]
        part = topic_columns(_only(columns.sample, chosen))
        for identity in filter(is_id, possible_ids(part.columns, ())):
            whole = next(one for one in columns.columns if one.name == identity.name)
            if whole.nulls == len(chosen) - count:
                path = columns.paths[column.name]
                reason = (
                    f"Only the {count:,} records of the sample with {path} {value} have "
                    f"{part.paths[identity.name]}"
                )
                candidates.append(replace(part, kind=RecordKind(path, value, reason)))
                break
    return candidates[0] if len(candidates) == 1 else None


def _only(sample: TopicSample, chosen: list[bool]) -> TopicSample:
    rows = [row for row, wanted in zip(sample.rows, chosen, strict=True) if wanted]
    left_out: Mapping[str, int] = {**sample.left_out, "other kind": len(chosen) - len(rows)}
    return sample._replace(rows=rows, left_out=left_out)
