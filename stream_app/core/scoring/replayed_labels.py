"""Outcomes of replayed labels, which leave no other trace than an example."""

from collections import Counter
from collections.abc import Mapping
from typing import Literal

from stream_app.core.scoring.replay_headers import replay_headers
from stream_app.headers import REPLAY_ID
from stream_app.records import Record

LabelResult = Literal["joined", "waiting", "duplicate", "expired"]

# Replays that are remembered; of more, the first ones are forgotten.
MAX_REPLAYS = 20


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
