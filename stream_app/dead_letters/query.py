"""SQL conditions on the index of dead letters, made from selections."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from stream_app.dead_letters.dead_letter_selection import DeadLetterSelection
from stream_app.errors import SelectionError
from stream_app.topic_kinds import DEAD_LETTER_KINDS

# Groups that an error message lists for an ambiguous prefix.
_MAX_LISTED = 3


class DeadLetterCause(NamedTuple):
    """Cause that several dead letters share: a row of the table `causes` without its id."""

    fingerprint: str
    code: str
    error_class: str
    stage: str


class Condition(NamedTuple):
    """SQL expression after WHERE, and the values of its placeholders."""

    sql: str
    values: tuple[Any, ...] = ()

    def and_(self, sql: str, *values: Any) -> "Condition":
        """Return the conjunction of this condition and another.

        >>> ALL.and_("partition = ?", 3)
        Condition(sql='1 AND partition = ?', values=(3,))
        """
        return Condition(f"{self.sql} AND {sql}", (*self.values, *values))


ALL = Condition("1")


def condition_of(
    selection: DeadLetterSelection, causes: Mapping[int, DeadLetterCause]
) -> Condition:
    """Return the condition of a selection, without its expression.

    Args:
        causes: all causes in the index, by id.

    Raises:
        SelectionError: a group is unknown or its prefix is ambiguous.
    """
    found = ALL
    if selection.groups or selection.codes or selection.classes or selection.stages:
        ids = _cause_ids(selection, causes)
        # The + keeps SQLite in the order of the table instead of the index by cause.
        found = found.and_(f"+cause IN ({_placeholders(ids)})", *ids)
    if selection.ids:
        prefixes = " OR ".join(["substr(error_id, 1, ?) = ?"] * len(selection.ids))
        values = [part for prefix in selection.ids for part in (len(prefix), prefix)]
        found = found.and_(f"({prefixes})", *values)
    if selection.keys:
        found = found.and_(f"key IN ({_placeholders(selection.keys)})", *selection.keys)
    if selection.source is not None:
        kind = "labels.dlq" if selection.source == "labels" else "raw.dlq"
        found = found.and_("kind = ?", DEAD_LETTER_KINDS.index(kind))
    first, last = selection.offsets
    for column, operator, value in (
        ("timestamp", ">=", selection.since),
        ("timestamp", "<", selection.until),
        ("source_partition", "=", selection.partition),
        ("source_offset", ">=", first),
        ("source_offset", "<=", last),
    ):
        if value is not None:
            found = found.and_(f"{column} {operator} ?", value)
    return found


def _cause_ids(selection: DeadLetterSelection, causes: Mapping[int, DeadLetterCause]) -> list[int]:
    """Return the ids of the causes that meet the conditions on group, code, class and stage."""
    groups = {_fingerprint(prefix, causes.values()) for prefix in selection.groups}
    return [
        cause_id
        for cause_id, cause in causes.items()
        if (not groups or cause.fingerprint in groups)
        and (not selection.codes or cause.code in selection.codes)
        and (not selection.classes or cause.error_class in selection.classes)
        and (not selection.stages or cause.stage in selection.stages)
    ]


def _fingerprint(prefix: str, causes: Iterable[DeadLetterCause]) -> str:
    """Return the only fingerprint with a prefix."""
    found = sorted(cause.fingerprint for cause in causes if cause.fingerprint.startswith(prefix))
    if prefix in found:
        return prefix
    if not found or not prefix:
        raise SelectionError(
            f"No group of dead letters is {prefix or 'empty'}",
            "List the groups with `stream-app dead-letters groups PIPELINE --all`",
        )
    if len(found) > 1:
        more = ", ..." if len(found) > _MAX_LISTED else ""
        raise SelectionError(
            f"{prefix} is a prefix of {len(found)} groups: {', '.join(found[:_MAX_LISTED])}{more}",
            "Give more characters of the fingerprint",
        )
    return found[0]


def _placeholders(values: Iterable[Any]) -> str:
    return ", ".join("?" for _ in values)
