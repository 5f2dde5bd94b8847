"""Groups of dead letters with the same cause."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from stream_app.dead_letters.dead_letter_selection import DeadLetterSelection
from stream_app.dead_letters.index import ALL, Condition, Index, IndexEntry
from stream_app.dead_letters.ledger import Ledger
from stream_app.error_codes import ERROR_CODES

# Newest dead letters of a group from which `DeadLetterGroup.top` is computed.
SAMPLE_SIZE = 1000

_HOUR_MS = 3_600_000


class TopValue(NamedTuple):
    """Most common value among the newest dead letters of a group, and its share from 0 to 1."""

    value: str
    share: float


@dataclass(frozen=True, slots=True)
class DeadLetterGroup:
    """Selected dead letters of one cause. Times are Unix milliseconds.

    Attributes:
        fingerprint: fingerprint of the cause.
        code: error code.
        error_class: class of the error.
        stage: stage of the pipeline that failed.
        remedy: what to do about the error.
        count: number of dead letters.
        first_seen: time of the oldest.
        last_seen: time of the newest.
        last_hour: number in the last hour.
        hour_before: number in the hour before that.
        newest: entry of the newest dead letter.
        top: most common `source` (topic and partition), `key` and `schema_version`.
        outcomes: number of dead letters that are not open, by state.
    """

    fingerprint: str
    code: str
    error_class: str
    stage: str
    remedy: str
    count: int
    first_seen: int
    last_seen: int
    last_hour: int
    hour_before: int
    newest: IndexEntry
    top: Mapping[str, TopValue]
    outcomes: Mapping[str, int] = field(default_factory=dict)

    @property
    def open(self) -> int:
        """Number of dead letters to which no operation applies."""
        return self.count - sum(self.outcomes.values())

    @property
    def is_closed(self) -> bool:
        """True if no dead letter of the group is open."""
        return self.open == 0


def find_groups(
    index: Index, selection: DeadLetterSelection, ledger: Ledger, now: int
) -> list[DeadLetterGroup]:
    """Return the groups of selected dead letters, those with most open dead letters first.

    Args:
        now: present time in Unix milliseconds.

    Raises:
        SelectionError: as `Index.select`.
    """
    condition = index.condition(selection)
    causes, closed = index.causes(), _closed_counts(index, condition, ledger)
    columns = (
        "cause, count(*), min(timestamp), max(timestamp), "
        f"sum(timestamp >= {now - _HOUR_MS}), sum(timestamp >= {now - 2 * _HOUR_MS})"
    )
    # With conditions, sorting (+cause) is faster than following the index by cause.
    group_by = f"GROUP BY {'cause' if condition == ALL else '+cause'}"
    groups = []
    for cause_id, count, first, last, hour, two_hours in list(
        index.rows(columns, "dead_letters", condition, group_by)
    ):
        entries = list(index.newest(condition.and_("cause = ?", cause_id), SAMPLE_SIZE))
        group = DeadLetterGroup(
            *causes[cause_id],
            remedy=_remedy(causes[cause_id].code),
            count=count,
            first_seen=first,
            last_seen=last,
            last_hour=hour,
            hour_before=two_hours - hour,
            newest=entries[0],
            top=_top_values(entries),
            outcomes=closed[cause_id],
        )
        groups.append(group)
    return sorted(groups, key=lambda group: (-group.open, -group.last_seen))


def _remedy(code: str) -> str:
    known = ERROR_CODES.get(code)
    if known is None:
        return "Read the message: another program, or another version of this one, wrote it."
    return known.remedy


def _closed_counts(index: Index, condition: Condition, ledger: Ledger) -> dict[int, Counter[str]]:
    """Return the number of dead letters that are not open, by cause id and state."""
    found: dict[int, Counter[str]] = defaultdict(Counter)
    for cause_id, state, count in index.closed_counts(ledger, condition):
        found[cause_id][state] = count
    return found


def _top_values(entries: list[IndexEntry]) -> dict[str, TopValue]:
    origins = (entry.ref.origin for entry in entries)
    return {
        "source": _top_value(f"{origin.topic}[{origin.partition}]" for origin in origins),
        "key": _top_value((entry.key or b"").decode("utf-8", "replace") for entry in entries),
        "schema_version": _top_value(entry.schema_version for entry in entries),
    }


def _top_value(values: Iterable[str]) -> TopValue:
    counts = Counter(values)
    value, count = counts.most_common(1)[0]
    return TopValue(value, count / counts.total())
