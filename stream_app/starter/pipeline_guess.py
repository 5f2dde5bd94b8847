"""Guesses a whole pipeline from the columns of a table, each part with its reason."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from math import ceil
from statistics import median
from typing import Any, Literal, NamedTuple

from stream_app.errors import InputError
from stream_app.formatting import duration
from stream_app.offline.event_order import EventOrder
from stream_app.starter.column_profiles import Column
from stream_app.starter.leakage import leak_reason
from stream_app.starter.role_guesses import (
    ChosenColumns,
    ColumnRole,
    differences,
    guess_event_id,
    guess_event_time,
    guess_label,
    guess_label_time,
    is_id,
)
from stream_app.starter.table_sample import TableSample
from stream_app.transfer.csv_files import is_avro_name

LabelKind = Literal["binary", "classes", "number"]

_POSITIVE_WORDS = frozenset({
    "1", "yes", "y", "true", "t", "positive", "pos", "fraud", "spam", "bad", "late", "churn",
    "churned", "default", "defaulted", "failed", "fail", "failure", "click", "clicked",
    "converted", "cancelled", "canceled", "malicious", "attack", "phishing", "won", "sick",
})  # fmt: skip
# Different texts of a feature, each of which gets a weight.
_MAX_WORDS = 200
_MAX_CLASSES = 50
_DAY_MS = 86_400_000
# Longest disorder for which the scorers wait; a file that is farther from sorted must be sorted.
_MAX_DISORDER_MS = 30 * _DAY_MS
_MIN_LATENESS = timedelta(hours=12)


class LabelValues(NamedTuple):
    """Meaning of the label's values.

    Attributes:
        kind: prediction task.
        positive, negative: values that mean true and false; None if they need no declaration.
        reason: values that were seen.
    """

    kind: LabelKind
    positive: Any
    negative: Any
    reason: str


class LabelTiming(NamedTuple):
    """Time at which labels become known.

    Attributes:
        time: column with that time, None if there is none.
        delay: time after the event if there is no column.
        horizon, allowed_lateness: as declared in `Label`.
        reason: reason of time or delay.
        horizon_reason: reason of the horizon.
    """

    time: Column | None
    delay: timedelta | None
    horizon: timedelta
    allowed_lateness: timedelta
    reason: str
    horizon_reason: str


@dataclass(frozen=True)
class PipelineGuess:
    """Guessed pipeline.

    Attributes:
        sample: columns that it was guessed from.
        event_id, event_time, label: columns of the roles.
        values: meaning of the label's values.
        timing: time at which labels become known.
        numbers: features that are numbers.
        words: features that are one of few texts.
        left_out: other columns.
        order: distance of the events from being sorted.
    """

    sample: TableSample
    event_id: ColumnRole
    event_time: ColumnRole
    label: ColumnRole
    values: LabelValues
    timing: LabelTiming
    numbers: list[ColumnRole]
    words: list[ColumnRole]
    left_out: list[ColumnRole]
    order: EventOrder

    @property
    def must_be_sorted(self) -> bool:
        """True if the scorers would not wait for events that come as late as in the file."""
        return self.order.milliseconds > _MAX_DISORDER_MS

    def is_nullable(self, column: Column) -> bool:
        """Return True if a field may be null: it is in the sample, or the sample is not all."""
        return column.nulls > 0 or not self.sample.is_complete


def guess_pipeline(sample: TableSample, chosen: ChosenColumns) -> PipelineGuess:
    """Return the guessed pipeline of a table.

    Args:
        sample: columns of the table.
        chosen: columns that the user has named.

    Raises:
        InputError: a part cannot be guessed; the remedy names the option for it.
    """
    columns = [one for one in sample.columns if is_avro_name(one.name)]
    fixed = [name for name in chosen if name is not None]
    event_time = guess_event_time(
        [one for one in columns if one.name not in (chosen.label, chosen.event_id)],
        chosen.event_time,
    )
    taken = [*fixed, event_time.column.name]
    event_id = guess_event_id(columns, chosen.event_id, taken)
    label = guess_label(columns, chosen.label, [*taken, event_id.column.name])
    values = guess_values(label.column)
    known = guess_label_time(columns, event_time.column, label.column)
    order = EventOrder.of(event_time.column.times)
    timing = guess_timing(event_time.column, label.column, known, order)
    roles = [event_time, event_id, label, *([known] if known else [])]
    others = [one for one in sample.columns if all(one is not role.column for role in roles)]
    numbers, words, left_out = guess_features(others, label.column, values)
    return PipelineGuess(
        sample, event_id, event_time, label, values, timing, numbers, words, left_out, order
    )


def guess_values(label: Column) -> LabelValues:
    """Return what the values of a label mean.

    Raises:
        InputError: they are all the same, too many, or lists.
    """
    counts = Counter(label.filled) if label.type != "other" else Counter[Any]()
    common = counts.most_common()
    seen = ", ".join(f"{value!r} ({count:,} times)" for value, count in common[:5])
    if len(common) < 2 or (label.type == "text" and len(common) > _MAX_CLASSES):
        raise InputError(
            f"{label.name} cannot be the label: it has {len(common):,} different values",
            "Name another column with --label",
        )
    if label.type == "boolean":
        return LabelValues("binary", None, None, seen)
    if len(common) == 2:
        (first, _), (second, _) = common
        positive, negative = _positive(first, second)
        if label.type != "text" and negative == 0:
            return LabelValues("binary", positive, None, f"{seen}; 0 means false")
        return LabelValues("binary", positive, negative, seen)
    if label.type == "text":
        return LabelValues("classes", None, None, f"{len(common):,} values: {seen}")
    return LabelValues("number", None, None, f"{_numbers(label)}")


def _positive(common: Any, rare: Any) -> tuple[Any, Any]:
    """Return the positive and the negative of two values; of text by its meaning, or the rarer."""
    if not isinstance(common, str):
        return max(common, rare), min(common, rare)
    return (common, rare) if common.lower() in _POSITIVE_WORDS else (rare, common)


def guess_timing(
    event_time: Column, label: Column, known: ColumnRole | None, order: EventOrder
) -> LabelTiming:
    """Return the time at which labels become known.

    Args:
        event_time: times of the events.
        label: label of each event, None where there is none.
        known: times of these labels; None if there are none.
        order: distance of the events from being sorted.
    """
    lateness = guess_lateness(order)
    if known is None:
        day = timedelta(days=1)
        reason = "no column says when the label became known: assumed; correct it"
        return LabelTiming(None, day, 2 * day, lateness, reason, "twice the delay")
    delays = [
        after - before
        for before, after, value in zip(
            event_time.times, known.column.times, label.values, strict=True
        )
        if before is not None and after is not None and value is not None
    ]
    longest = max(delays)
    horizon = timedelta(days=max(1, ceil(1.5 * longest / _DAY_MS)))
    text = f"half of the labels were known within {duration(median(delays) / 1000)}, the last"
    return LabelTiming(
        known.column,
        None,
        horizon,
        lateness,
        known.reason,
        f"{text} within {duration(longest / 1000)}",
    )


def guess_lateness(order: EventOrder) -> timedelta:
    """Return an allowed lateness that covers the disorder of the events, up to 30 days."""
    if not 0 < order.milliseconds <= _MAX_DISORDER_MS:
        return _MIN_LATENESS
    return max(_MIN_LATENESS, timedelta(days=ceil(order.milliseconds / _DAY_MS)))


def guess_features(
    columns: Sequence[Column], label: Column, values: LabelValues
) -> tuple[list[ColumnRole], list[ColumnRole], list[ColumnRole]]:
    """Return the features that are numbers, those that are text, and the other columns.

    Args:
        columns: columns without another role.
        label: label of each event, None where there is none.
        values: meaning of the label's values.
    """
    numbers, words, left_out = list[ColumnRole](), list[ColumnRole](), list[ColumnRole]()
    positive = (
        True if label.type == "boolean" else values.positive if values.kind == "binary" else None
    )
    for column in columns:
        reason = _unusable(column) or leak_reason(column, label, positive)
        if reason:
            left_out.append(ColumnRole(column, reason))
        elif column.type in ("integer", "number"):
            numbers.append(ColumnRole(column, _numbers(column)))
        else:
            words.append(ColumnRole(column, _values(column)))
    return numbers, words, left_out


def _unusable(column: Column) -> str | None:
    if column.type == "empty":
        return "it is always empty"
    if column.type == "other":
        return "it has lists or values of several types"
    if not is_avro_name(column.name):
        return "its name, or its path, is no name of a field"
    if column.distinct < 2:
        return "it has one value only"
    if column.type == "text" and column.time_type is not None:
        return "a time, perhaps known later than the event"
    if column.type == "integer" and not column.nulls and _grows(column.filled):
        return "it numbers the rows"
    if is_id(column):
        return f"an identifier by its name; {differences(column)}"
    if column.type == "text" and column.distinct > min(_MAX_WORDS, len(column.filled) / 5):
        return f"text with many values: {differences(column)}"
    return None


def _grows(numbers: Sequence[int]) -> bool:
    """Return True if each number is larger than the one before."""
    return all(before < after for before, after in pairwise(numbers))


def _numbers(column: Column) -> str:
    low, high = min(column.filled), max(column.filled)
    return f"{low:,.6g} to {high:,.6g}, {column.distinct:,} different values{_missing(column)}"


def _values(column: Column) -> str:
    shown = ", ".join(_shown(column))
    return f"{column.distinct:,} different values: {shown}{_missing(column)}"


def _shown(column: Column) -> Iterator[str]:
    for value, _ in Counter(column.filled).most_common(3):
        text = str(value)
        yield text if len(text) <= 20 else f"{text[:19]}…"


def _missing(column: Column) -> str:
    return f"; {column.nulls:,} of {len(column.values):,} are missing" if column.nulls else ""
