"""Dead letters of the last minutes, by code."""

from collections import Counter

from confluent_kafka import Message

from stream_app.kafka.offsets import Limits, offsets_since
from stream_app.status.newest_records import place_of
from stream_app.status.pipeline_view import PipelineView
from stream_app.status.status_model import RecentDeadLetters

MINUTES = 10
MOST = 1000  # newest offsets of a partition that are looked at


def recent_dead_letters(view: PipelineView, limits: Limits, now: int) -> RecentDeadLetters:
    """Those written since ten minutes before `now` (epoch milliseconds); `limits` are those of the dead letters."""
    ends = {place: end for place, (low, end) in limits.items() if low < end}
    since = offsets_since(view.consumer, view.errors, ends, now - MINUTES * 60_000) if ends else {}
    ranges = {place: (max(since[place], end - MOST), end) for place, end in ends.items()}
    counts: dict[str, Counter[str]] = {
        view.topic("raw.dlq"): Counter(),
        view.topic("labels.dlq"): Counter(),
    }
    for message in view.tail.between(ranges):
        counts[place_of(message)[0]][_code(message)] += 1
    events, labels = (dict(codes) for codes in counts.values())
    return RecentDeadLetters(
        MINUTES, all(ranges[place][0] == since[place] for place in ranges), events, labels
    )


def _code(message: Message) -> str:
    headers = dict(message.headers() or ())
    return (headers.get("error-code") or b"unknown").decode("utf-8", "replace")
