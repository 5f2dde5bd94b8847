"""Dead letters by their cause."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from stream_app.dead_letters.dead_letter_selection import DeadLetterSelection
from stream_app.dead_letters.index import Index, IndexEntry
from stream_app.dead_letters.ledger import Ledger
from stream_app.dead_letters.query import ALL, Condition
from stream_app.error_codes import ERROR_CODES

SAMPLE = 1000  # newest letters of a group that `top` is told from
_HOUR = 3_600_000


class Top(NamedTuple):
    """The commonest value among the newest letters of a group, and its share of them, from 0 to 1."""

    value: str
    share: float


@dataclass(frozen=True, slots=True)
class DeadLetterGroup:
    """All chosen dead letters of one cause; times are epoch milliseconds.

    `outcomes` counts those that were acted on, by what became of them; the group is `closed` when that is true of all.
    `newest` is the sample. `top` has source (topic and partition), key and schema_version of the newest letters.
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
    top: Mapping[str, Top]
    outcomes: Mapping[str, int] = field(default_factory=dict)

    @property
    def open(self) -> int:
        """How many nobody has acted on."""
        return self.count - sum(self.outcomes.values())

    @property
    def closed(self) -> bool:
        """Whether nothing is left to do."""
        return self.open == 0


def find_groups(
    index: Index, selection: DeadLetterSelection, ledger: Ledger, now: int
) -> list[DeadLetterGroup]:
    """The groups of the chosen letters, the one with most open letters first; `now` is epoch milliseconds.

    Raises as `Index.select` does.
    """
    condition = index.condition(selection)
    causes, acted = index.causes(), _acted(index, condition, ledger)
    columns = "cause, count(*), min(timestamp), max(timestamp), sum(timestamp >= {0}), sum(timestamp >= {1})"
    by = (
        "cause" if condition == ALL else "+cause"
    )  # with conditions, sorting is faster than going by the index
    rows = index.rows(
        columns.format(now - _HOUR, now - 2 * _HOUR), "letters", condition, f"GROUP BY {by}"
    )
    found = []
    for number, count, first, last, hour, two_hours in list(rows):
        newest = list(index.newest(condition.but("cause = ?", number), SAMPLE))
        cause = causes[number]
        known = ERROR_CODES.get(cause.code)
        remedy = (
            known.remedy
            if known
            else "It is not of this program, or of another version; see the message."
        )
        trend = hour, two_hours - hour
        found.append(
            DeadLetterGroup(
                *cause, remedy, count, first, last, *trend, newest[0], _top(newest), acted[number]
            )
        )
    return sorted(found, key=lambda group: (-group.open, -group.last_seen))


def _acted(index: Index, condition: Condition, ledger: Ledger) -> dict[int, Counter[str]]:
    """By cause and outcome, how many letters have it."""
    found: dict[int, Counter[str]] = defaultdict(Counter)
    for cause, state, count in index.closed(ledger, condition):
        found[cause][state] = count
    return found


def _top(entries: list[IndexEntry]) -> dict[str, Top]:
    return {
        "source": _commonest(
            f"{entry.ref.origin.topic}[{entry.ref.origin.partition}]" for entry in entries
        ),
        "key": _commonest((entry.key or b"").decode("utf-8", "replace") for entry in entries),
        "schema_version": _commonest(entry.schema_version for entry in entries),
    }


def _commonest(values: Iterable[str]) -> Top:
    counts = Counter(values)
    value, count = counts.most_common(1)[0]
    return Top(value, count / counts.total())
