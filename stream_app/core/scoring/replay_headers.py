"""Headers of a replay on a record: believed only as a whole, and as a replay writes them.

Replays write labels, and with `--to source` events, to topics of producers, who may send any header
there. What is not of the form below is not believed, so that every reader can rely on it.

The outcomes of replayed labels, which leave no other trace than an example, are counted by replay.
"""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Literal

from stream_app.headers import (
    ERROR_ATTEMPTS,
    ERROR_FIRST_FAILED_AT,
    ORIGINAL_OFFSET,
    ORIGINAL_PARTITION,
    ORIGINAL_TIMESTAMP,
    ORIGINAL_TOPIC,
    REPLAY_COUNT,
    REPLAY_ID,
)
from stream_app.records import Record

ORIGIN = frozenset({ORIGINAL_TOPIC, ORIGINAL_PARTITION, ORIGINAL_OFFSET, ORIGINAL_TIMESTAMP})

_FORMS = {
    REPLAY_ID: re.compile(rb"[0-9a-f]{10}"),
    REPLAY_COUNT: re.compile(rb"[0-9]{1,9}"),
    ERROR_ATTEMPTS: re.compile(rb"[0-9]{1,9}"),
    ERROR_FIRST_FAILED_AT: re.compile(rb"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.+]{8,24}"),
    ORIGINAL_TOPIC: re.compile(rb"[a-z0-9-]{1,100}\.(?:raw|labels|raw\.replay)"),
    ORIGINAL_PARTITION: re.compile(rb"[0-9]{1,9}"),
    ORIGINAL_OFFSET: re.compile(rb"[0-9]{1,18}"),
    ORIGINAL_TIMESTAMP: re.compile(rb"-?[0-9]{1,18}"),
}
LabelResult = Literal["joined", "waiting", "duplicate", "expired", "contradicting"]

# Replays that are remembered; of more, the first ones are forgotten.
MAX_REPLAYS = 20


def replay_headers(record: Record) -> Mapping[str, str]:
    """Return the headers that a replay wrote, empty if the record is none of a replay.

    The origin must be an input of the same kind and pipeline.
    """
    found = {name: content or b"" for name, content in record.headers if name in _FORMS}
    if REPLAY_ID not in found:
        return {}
    if not all(form.fullmatch(found.get(name, b"")) for name, form in _FORMS.items()):
        return {}
    texts = {name: content.decode() for name, content in found.items()}
    same_input = texts[ORIGINAL_TOPIC].removesuffix(".replay") == record.topic.removesuffix(
        ".replay"
    )
    return texts if same_input else {}


class ReplayedLabels:
    """Counts of replayed labels by replay and outcome, for one partition; part of its state.

    Labels that fail again are not counted here, because their dead letters name the replay.
    """

    def __init__(self, counts: Mapping[str, Mapping[str, int]] | None = None) -> None:
        self._counts = {name: Counter(found) for name, found in (counts or {}).items()}

    def count(self, record: Record, outcome: LabelResult, change: int = 1) -> None:
        """Count the outcome of a label record if it was replayed."""
        if not record.headers:
            return
        name = replay_headers(record).get(REPLAY_ID)
        if name is None:
            return
        found = self._counts.get(name)
        if found is None:
            if len(self._counts) >= MAX_REPLAYS:
                del self._counts[next(iter(self._counts))]
            found = self._counts[name] = Counter()
        found[outcome] += change

    def as_dict(self) -> dict[str, dict[str, int]]:
        """Return plain data for the changelog."""
        return {name: dict(found) for name, found in self._counts.items()}
