"""Which dead letters are meant, as people say it; light to import."""

import re
from dataclasses import dataclass
from typing import Literal

from stream_app.errors import SelectionError
from stream_app.transfer.record_selection import parse_since

Source = Literal["raw", "labels"]
"""Which of the pipeline's two inputs a dead letter came from."""

_LAST = 253_402_300_800_000  # epoch milliseconds of the year 10000

Offsets = tuple[int | None, int | None]
"""The first and the last offset, both included; None is open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterSelection:
    """Dead letters that meet every condition; of several values for one condition, any. Without conditions, all.

    `ids` and `groups` are error ids and fingerprints, or beginnings of them; that of a group has to be unique.
    `since` (included) and `until` (excluded) are epoch milliseconds of the time of becoming a dead letter. `partition`
    and `offsets` are where the record came from. `where` is a Python expression, see `stream_app.dead_letters.filter_expression`.
    """

    ids: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()
    keys: tuple[bytes, ...] = ()
    since: int | None = None
    until: int | None = None
    source: Source | None = None
    partition: int | None = None
    offsets: Offsets = (None, None)
    where: str | None = None


def parse_time(text: str, now: float | None = None) -> int:
    """Epoch milliseconds of `2h` (ago) or an ISO 8601 time; `SelectionError` if it is neither.

    >>> parse_time("1h", now=3660.0)
    60000
    """
    time = parse_since(text, now)
    if time is None or not 0 <= time < _LAST:
        raise SelectionError(
            f"{text} is not a time", "Give 30s, 10m, 2h, 3d (ago) or 2026-01-31T12:00:00Z"
        )
    return time


def parse_offsets(text: str) -> Offsets:
    """The range that `100-200`, `100-`, `-200` or `100` stands for; `SelectionError` if it is none.

    >>> parse_offsets("100-200"), parse_offsets("7-"), parse_offsets("7")
    ((100, 200), (7, None), (7, 7))
    """
    found = re.fullmatch(r"([0-9]{0,18})(-?)([0-9]{0,18})", text)
    if found is None or not (found[1] or found[3]) or (found[3] and not found[2]):
        raise SelectionError(
            f"{text} is not a range of offsets", "Give FIRST-LAST, FIRST- or -LAST, e.g. 100-200"
        )
    first = int(found[1]) if found[1] else None
    last = int(found[3]) if found[3] else None
    return (first, last) if found[2] else (first, first)
