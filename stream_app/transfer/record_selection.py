"""Which records to read, as people say it; light to import."""

import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from stream_app.core.reading.event_time import epoch_milliseconds

Kind = Literal["raw", "labels", "scored", "dead-letters", "monitoring", "examples", "models"]
Start = Literal["beginning", "now"] | int
"""An integer is a Kafka timestamp in epoch milliseconds."""

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordSelection:
    """Records of `kind` from `start`, at most `limit` of them.

    `until_end`: stop at the ends that the topics have when reading begins; otherwise go on for ever.
    """

    kind: Kind
    start: Start = "now"
    limit: int | None = None
    until_end: bool = False


def parse_since(text: str, now: float | None = None) -> int | None:
    """Epoch milliseconds of `10m` (before `now`, in epoch seconds) or an ISO 8601 time (UTC unless it says otherwise).

    None if it is neither.

    >>> parse_since("2h", now=7260.0)
    60000
    >>> parse_since("1970-01-02")
    86400000
    """
    ago = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    if ago is not None:
        return round(
            ((time.time() if now is None else now) - int(ago[1]) * _SECONDS[ago[2]]) * 1000
        )
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return epoch_milliseconds((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).isoformat())
