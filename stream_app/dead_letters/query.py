"""A selection as a condition on the index's letters."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from stream_app.dead_letters.dead_letter_record import KINDS
from stream_app.dead_letters.dead_letter_selection import DeadLetterSelection
from stream_app.errors import SelectionError

_SHOWN = 3  # groups that a beginning might mean


class FailureKind(NamedTuple):
    """A row of the index's table of causes, without its number."""

    fingerprint: str
    code: str
    error_class: str
    stage: str


class Condition(NamedTuple):
    """What stands behind WHERE, and the values of its question marks."""

    sql: str
    values: tuple[Any, ...] = ()

    def but(self, sql: str, *values: Any) -> "Condition":
        """This and that."""
        return Condition(f"{self.sql} AND {sql}", (*self.values, *values))


ALL = Condition("1")


def condition_of(selection: DeadLetterSelection, causes: dict[int, FailureKind]) -> Condition:
    """The selection without its expression; `causes` are all that there are, by number.

    Raises `SelectionError` for a group that is unknown or not unique.
    """
    found = ALL
    if selection.groups or selection.codes or selection.classes or selection.stages:
        wanted = _causes(selection, causes)
        found = found.but(
            f"+cause IN ({_marks(wanted)})", *wanted
        )  # in the order of the table, not of the causes
    if selection.ids:
        found = found.but(
            "(" + " OR ".join(["substr(error_id, 1, ?) = ?"] * len(selection.ids)) + ")"
        )
        found = Condition(
            found.sql, (*found.values, *(part for one in selection.ids for part in (len(one), one)))
        )
    if selection.keys:
        found = found.but(f"key IN ({_marks(selection.keys)})", *selection.keys)
    if selection.source is not None:
        found = found.but(
            "kind = ?", KINDS.index("labels.dlq" if selection.source == "labels" else "raw.dlq")
        )
    first, last = selection.offsets
    for column, operator, value in (
        ("timestamp", ">=", selection.since),
        ("timestamp", "<", selection.until),
        ("source_partition", "=", selection.partition),
        ("source_offset", ">=", first),
        ("source_offset", "<=", last),
    ):
        if value is not None:
            found = found.but(f"{column} {operator} ?", value)
    return found


def _causes(selection: DeadLetterSelection, causes: dict[int, FailureKind]) -> list[int]:
    """The causes that every condition on groups, codes, classes and stages leaves."""
    groups = {_fingerprint(beginning, causes.values()) for beginning in selection.groups}
    return [
        number
        for number, cause in causes.items()
        if (not groups or cause.fingerprint in groups)
        and (not selection.codes or cause.code in selection.codes)
        and (not selection.classes or cause.error_class in selection.classes)
        and (not selection.stages or cause.stage in selection.stages)
    ]


def _fingerprint(beginning: str, causes: Iterable[FailureKind]) -> str:
    """The one fingerprint that begins so."""
    found = sorted(cause.fingerprint for cause in causes if cause.fingerprint.startswith(beginning))
    if beginning in found:
        return beginning
    if not found or not beginning:
        raise SelectionError(
            f"No group of dead letters is {beginning or 'empty'}",
            "See `stream-app dead-letters groups PIPELINE --all`",
        )
    if len(found) > 1:
        more = ", ..." if len(found) > _SHOWN else ""
        raise SelectionError(
            f"{beginning} is the beginning of {len(found)} groups: {', '.join(found[:_SHOWN])}{more}",
            "Give more of it",
        )
    return found[0]


def _marks(values: Iterable[Any]) -> str:
    return ", ".join("?" for _ in values)
