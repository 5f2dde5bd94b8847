"""Selection of the records to read; light to import."""

import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from stream_app.core.reading.event_time import to_unix_ms

SelectedKind = Literal[
    "raw", "labels", "scored", "dead-letters", "monitoring", "examples", "models"
]
"""Kind of topic that users consume; "dead-letters" are both topics of dead letters."""

Start = Literal["beginning", "now"] | int
"""An integer is a Kafka timestamp in Unix milliseconds."""

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordSelection:
    """Records of a topic.

    Attributes:
        kind: kind of topic.
        start: where reading begins.
        limit: largest number of records, None for all.
        until_end: True to stop at the ends that the topics have when reading begins, False to
            follow them.
    """

    kind: SelectedKind
    start: Start = "now"
    limit: int | None = None
    until_end: bool = False


def parse_since(text: str, now: float | None = None) -> int | None:
    """Return a time in Unix milliseconds, or None if the text is not one.

    Args:
        text: duration before now such as `10m` (units s, m, h, d), or an ISO 8601 time, which is
            UTC unless it has an offset.
        now: Unix seconds, the present time by default.

    >>> parse_since("2h", now=7260.0)
    60000
    >>> parse_since("1970-01-02")
    86400000
    """
    ago = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    if ago is not None:
        seconds = (time.time() if now is None else now) - int(ago[1]) * _SECONDS[ago[2]]
        return round(seconds * 1000)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return to_unix_ms((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).isoformat())
