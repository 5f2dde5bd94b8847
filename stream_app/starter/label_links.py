"""Link between the labels of one topic and the events of another: the event's id in a label."""

from collections.abc import Iterator, Sequence
from statistics import median
from typing import NamedTuple

from stream_app.sources import FieldOrigin, RecordKey
from stream_app.starter.column_profiles import Column
from stream_app.starter.role_guesses import CHOOSE, ColumnRole, differences, is_id, seems_time
from stream_app.starter.topic_columns import TopicColumns

# Values of an id that must be the same in labels and events, and share of those that differ.
_MIN_COMMON = 5
_DIFFERENT = 0.9


class TimesAfter(NamedTuple):
    """Times of labels compared with those of their events.

    Attributes:
        total: labels of the sample that have their event in the sample.
        after: number of them that are not before the event.
        median: median of the times in Unix milliseconds.
    """

    total: int
    after: int
    median: float

    @property
    def share(self) -> float:
        """Share of labels that are not before their event, 1 without any."""
        return self.after / self.total if self.total else 1.0

    def __str__(self) -> str:
        return f"{self.after:,} of {self.total:,} are not before their event"


class LabelLink(NamedTuple):
    """The event's id in events and in labels.

    Attributes:
        event_id: column of the id in events, with the reason.
        label_name: name of the column with the id in labels; empty without labels.
        label_origin: where labels have it, None for the same name at the top.
        rows: for each event of the sample the number of its first label, or None.
    """

    event_id: ColumnRole
    label_name: str = ""
    label_origin: FieldOrigin | None = None
    rows: Sequence[int | None] = ()

    def linked_rows(self) -> set[int]:
        """Return the numbers of the labels that have their event in the sample."""
        return {row for row in self.rows if row is not None}

    def align(self, column: Column) -> Column:
        """Return the values of a column of labels for each event of the sample."""
        values = [None if row is None else column.values[row] for row in self.rows]
        return Column(column.name, column.type, values, column.declared_time)

    def after(self, event_time: Column, known: Column) -> TimesAfter:
        """Compare times of labels with those of their events."""
        times = self.align(known).times
        pairs = [
            (before, time)
            for before, time in zip(event_time.times, times, strict=True)
            if before is not None and time is not None
        ]
        after = sum(time >= before for before, time in pairs)
        middle = median(time for _, time in pairs) if pairs else 0.0
        return TimesAfter(len(pairs), after, middle)

    def find_key(self, labels: TopicColumns, column: Column) -> tuple[FieldOrigin | None, str]:
        """Return where labels have the same value as a column of their events, and the reason."""
        wanted = list(row_texts(column))
        candidates = [*labels.columns, *([labels.key] if labels.has_plain_keys else [])]
        for one in candidates:
            texts = list(row_texts(self.align(one)))
            pairs = [
                (a, b)
                for a, b, row in zip(wanted, texts, self.rows, strict=True)
                if row is not None
            ]
            if len(pairs) >= _MIN_COMMON and all(a == b for a, b in pairs):
                origin = RecordKey() if one is labels.key else labels.paths[one.name]
                where = "the key of labels" if one is labels.key else f"labels have it as {origin}"
                return origin, f"{where}: {len(pairs):,} of {len(pairs):,} are the same"
        return None, ""


def find_link(possible: Sequence[Column], labels: TopicColumns | None, reason: str) -> LabelLink:
    """Return the id of the events and, with labels, where these have it.

    Args:
        possible: columns that may be the id, the best first.
        labels: columns of the labels.
        reason: reason, or the beginning of it.
    """
    first = possible[0]
    chosen = ColumnRole(first, reason if reason.startswith(CHOOSE) else reason + differences(first))
    if labels is None:
        return LabelLink(chosen)
    candidates = _candidates(labels)
    best, common = None, 0.0
    for column in possible:
        known = set(row_texts(column))
        for one in candidates:
            texts = [text for text in row_texts(one) if text is not None]
            same = sum(text in known for text in texts)
            rank = same / len(texts)
            if same >= _MIN_COMMON and rank > common:
                best, common = (column, one, f"{same:,} of {len(texts):,} labels have it"), rank
    if best is None:
        return _unlinked(chosen, labels, candidates)
    column, one, evidence = best
    text = f"{reason}{differences(column)}; {evidence} as {_place(labels, one)}"
    return _link(ColumnRole(column, text), labels, one)


def _candidates(labels: TopicColumns) -> list[Column]:
    """Return the columns of labels that may be the event's id, those named like one first."""
    key = [labels.key] if labels.has_plain_keys and labels.key.type != "empty" else []
    found = [
        one
        for one in [*labels.columns, *key]
        if one.type in ("integer", "text")
        and one.distinct >= _DIFFERENT * len(one.filled)
        and (is_id(one) or not seems_time(one))
    ]
    return sorted(found, key=lambda one: (one is labels.key, not is_id(one)))


def _place(labels: TopicColumns, column: Column) -> str:
    return "their key" if column is labels.key else labels.paths[column.name]


def _unlinked(chosen: ColumnRole, labels: TopicColumns, candidates: Sequence[Column]) -> LabelLink:
    """Return a link that the user must check."""
    name = chosen.column.name
    alike = [one for one in candidates if one.name == name or name.endswith(f"_{one.name}")]
    one = next(iter([*alike, *candidates, labels.key]))
    reason = (
        f"{CHOOSE}no label of the sample has an event of the sample; {_place(labels, one)} of the "
        f"labels is taken for the id; {chosen.reason.removeprefix(CHOOSE)}"
    )
    return _link(ColumnRole(chosen.column, reason), labels, one)


def _link(event_id: ColumnRole, labels: TopicColumns, column: Column) -> LabelLink:
    origin = labels.origin(column)
    if column is not labels.key and column.name != event_id.column.name:
        origin = labels.paths[column.name]
    first: dict[str, int] = {}
    for number, text in enumerate(row_texts(column)):
        if text is not None:
            first.setdefault(text, number)
    rows = [None if text is None else first.get(text) for text in row_texts(event_id.column)]
    return LabelLink(event_id, column.name, origin, rows)


def row_texts(column: Column) -> Iterator[str | None]:
    """Yield the text of each value, as it is in a key."""
    return (None if value is None else str(value) for value in column.values)
