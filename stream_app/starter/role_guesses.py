"""Guesses which column is the id, the time of the event, the label and the time of the label."""

import re
from collections.abc import Callable, Iterable, Sequence
from statistics import median
from typing import NamedTuple

from stream_app.errors import InputError
from stream_app.starter.column_profiles import Column

_ID_NAME = re.compile(r"(.*[_.\-])?(?i:id|key|uuid|guid|number|nr|reference)|.*[a-z](Id|ID|Key|Nr)")
_TIME_NAME = re.compile(
    r"(?i)(.*_)?(ts|time|timestamp|datetime|created|occurred|event|ordered|paid|placed|started|"
    r"start|departure|when|hour)(_.*)?|(.*_)?at|.*time|.*timestamp"
)
_DATE_NAME = re.compile(r"(?i)(.*_)?(date|day|on|epoch|unix)(_.*)?|.*date")
_LATER_NAME = re.compile(
    r"(?i)(.*_)?(label|known|decided|decision|closed|resolved|ended|end|outcome|verdict|settled|"
    r"arrival|arrived|delivered|confirmed|returned|reviewed)(_.*)?"
)
_OTHER_TIME_NAME = re.compile(r"(?i)(.*_)?(birth|born|dob|updated|modified|expir[a-z]*)(_.*)?")
_LABEL_NAMES = ("label", "target", "y", "class", "outcome", "truth")
_LABEL_NAME = re.compile(
    r"(?i)(is|has|was|did)_.*|(.*_)?(fraud[a-z]*|churn[a-z]*|spam|late|default(ed)?|converted|"
    r"clicked|returned|cancelled|survived|response|result|diagnosis|failed|failure)(_.*)?"
)
CHOOSE = "CHOOSE: "
"""Beginning of the reasons of what could not be guessed."""

# Share of the values of an id that must differ.
_DIFFERENT = 0.99
# Share of the label times that must not be before their events.
_IN_ORDER = 0.99


class ColumnRole(NamedTuple):
    """Column that was chosen for a role, with the reason."""

    column: Column
    reason: str


class ChosenColumns(NamedTuple):
    """Columns that the user has named, None for those to guess."""

    event_id: str | None = None
    event_time: str | None = None
    label: str | None = None


def guess_event_time(columns: Sequence[Column], chosen: str | None) -> ColumnRole:
    """Return the column with the time of the event.

    Raises:
        InputError: no column is a time, or the chosen one is none.
    """
    if chosen is not None:
        column = named(columns, chosen, "--time")
        if column.time_type is None or column.nulls:
            reason = f"{column.nulls:,} values are missing" if column.nulls else "it is no time"
            raise InputError(f"{chosen} cannot be the time of the event: {reason}", _TIME_REMEDY)
        return ColumnRole(column, f"chosen with --time; {time_format(column)}")
    times = [one for one in columns if one.time_type is not None and one.filled and not one.nulls]
    # A number may be a time by chance, so its name must say it.
    found = list(filter(seems_time, times))
    if not found:
        raise InputError("No column is a time that is never missing", _TIME_REMEDY)
    best = min(found, key=lambda one: (-_time_score(one), median(filter(None, one.times or [0]))))
    others = [one.name for one in found if one is not best]
    among = f"; other times: {', '.join(others)}" if others else ""
    return ColumnRole(best, f"{time_format(best)}{among}")


_TIME_REMEDY = (
    "Name a column with --time that has ISO 8601 text or Unix time in every row; pandas converts "
    "with pd.to_datetime(column)"
)


def seems_time(column: Column) -> bool:
    """Return True if values and name of a column are those of a time."""
    if column.time_type is None or not column.filled:
        return False
    return column.type == "text" or column.declared_time is not None or _time_score(column) > 0


def is_later_time(column: Column) -> bool:
    """Return True if the name of a column is that of a time after the event."""
    return bool(_LATER_NAME.fullmatch(column.name))


def _time_score(column: Column) -> int:
    name = column.name
    score = 3 * bool(_TIME_NAME.fullmatch(name)) or 2 * bool(_DATE_NAME.fullmatch(name))
    later = _LATER_NAME.fullmatch(name) or _OTHER_TIME_NAME.fullmatch(name)
    return score - 2 if later else score


def time_format(column: Column) -> str:
    """Return how the times of a column are written, and how many there are."""
    name = column.time_type or ""
    if column.type != "text":
        return f"{len(column.filled):,} numbers, as Unix {column.unit.name}"
    if name.startswith("local-"):
        return f"{len(column.filled):,} times without an offset, read as UTC"
    return f"{len(column.filled):,} times with an offset"


def guess_event_id(
    columns: Sequence[Column], chosen: str | None, taken: Iterable[str]
) -> ColumnRole:
    """Return the column that identifies an event.

    Args:
        columns: all columns.
        chosen: name that the user has given.
        taken: names of columns with another role.

    Raises:
        InputError: no column has a different value in each row, or the chosen one cannot be an id.
    """
    if chosen is not None:
        column = named(columns, chosen, "--id")
        if column.type not in ("integer", "text") or column.nulls:
            raise InputError(
                f"{chosen} cannot be the id: it has missing values or is no integer or text",
                _ID_REMEDY,
            )
        return ColumnRole(column, f"chosen with --id; {differences(column)}")
    found = possible_ids(columns, taken)
    if not found:
        raise InputError(f"No column identifies a row{nearest_id(columns, taken)}", _ID_REMEDY)
    best = max(found, key=is_id)
    return ColumnRole(best, differences(best))


def possible_ids(columns: Sequence[Column], taken: Iterable[str]) -> list[Column]:
    """Return the columns that may identify an event; arguments as for `guess_event_id`."""
    return [
        one
        for one in _complete_texts(columns, taken)
        if one.distinct >= _DIFFERENT * len(one.filled)
    ]


def nearest_id(columns: Sequence[Column], taken: Iterable[str]) -> str:
    """Return a remark on the column with the most different values, empty if there is none."""
    possible = _complete_texts(columns, taken)
    most = max(possible, key=lambda one: one.distinct, default=None)
    return f"; the nearest is {most.name}: {differences(most)}" if most else ""


def _complete_texts(columns: Sequence[Column], taken: Iterable[str]) -> list[Column]:
    """Return the columns of texts and integers that are never missing."""
    other = set(taken)
    return [
        one
        for one in columns
        if one.name not in other and one.type in ("integer", "text") and not one.nulls
    ]


_ID_REMEDY = (
    "Name a column with --id whose values differ, or add one, in pandas with "
    'table.insert(0, "id", range(len(table)))'
)


def differences(column: Column) -> str:
    """Return how many values of a column differ."""
    return f"{column.distinct:,} of {len(column.filled):,} values differ"


def is_id(column: Column) -> bool:
    """Return True if the name of a column is that of an identifier."""
    return bool(_ID_NAME.fullmatch(column.name))


def guess_label(columns: Sequence[Column], chosen: str | None, taken: Iterable[str]) -> ColumnRole:
    """Return the column with the label; arguments as for `guess_event_id`.

    Raises:
        InputError: no column seems to be the label.
    """
    if chosen is not None:
        return ColumnRole(named(columns, chosen, "--label"), "chosen with --label")
    other = set(taken)
    possible = [one for one in columns if one.name not in other and one.distinct > 1]
    rules: tuple[tuple[str, Callable[[Column], bool]], ...] = (
        ("its name says it", lambda one: one.name.lower() in _LABEL_NAMES),
        (
            "its name says it, and it has two values",
            lambda one: one.distinct == 2 and bool(_LABEL_NAME.fullmatch(one.name)),
        ),
        (
            "it is the last column and has two values",
            lambda one: one.distinct == 2 and one is columns[-1],
        ),
    )
    for reason, rule in rules:
        found = [one for one in possible if rule(one)]
        if found:
            return ColumnRole(found[0], reason)
    raise InputError(
        "No column seems to be the label",
        f"Name it with --label: {', '.join(one.name for one in possible)}",
    )


def seems_label(column: Column) -> bool:
    """Return True if the name of a column is that of a label, and it has few values."""
    name = column.name.lower() in _LABEL_NAMES or _LABEL_NAME.fullmatch(column.name)
    return bool(name) and column.distinct <= 2


def guess_label_time(
    columns: Sequence[Column], event_time: Column, label: Column
) -> ColumnRole | None:
    """Return the column with the time at which the label became known, None if there is none.

    It is named like one, is there whenever the label is, and is not before the event.
    """
    for one in columns:
        if one is event_time or one is label or one.time_type is None:
            continue
        if not _LATER_NAME.fullmatch(one.name):
            continue
        pairs = [
            (event, known)
            for event, known, value in zip(event_time.times, one.times, label.values, strict=True)
            if value is not None
        ]
        after = sum(
            event is not None and known is not None and known >= event for event, known in pairs
        )
        if pairs and after >= _IN_ORDER * len(pairs):
            return ColumnRole(
                one,
                f"{after:,} of {len(pairs):,} times are not before the event; {time_format(one)}",
            )
    return None


def named(columns: Sequence[Column], name: str, option: str) -> Column:
    """Return the column of a name that the user has given.

    Raises:
        InputError: there is none.
    """
    for column in columns:
        if column.name == name:
            return column
    raise InputError(
        f"{option} {name!r} is not a column",
        f"Choose from {', '.join(column.name for column in columns)}",
    )
