"""Headers of a replay on a record: believed only as a whole, and as a replay writes them.

Replays write labels, and with `--to source` events, to topics of producers, who may send any header
there. So does `ingest` with the records that it reads again. What is not of the form below is not
believed, so that every reader can rely on it.

Outcomes that leave no record that names the replay are counted by replay: those of labels, and of
records that `ingest` leaves out.
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
    SOURCE,
)
from stream_app.records import Record

ORIGIN = frozenset({ORIGINAL_TOPIC, ORIGINAL_PARTITION, ORIGINAL_OFFSET, ORIGINAL_TIMESTAMP})

REPLAY_ID_FORM = "[a-z0-9][a-z0-9-]{0,39}"
"""Regular expression of the id of a replay: a digest, or a name that the operator gives."""

_FORMS = {
    REPLAY_ID: re.compile(REPLAY_ID_FORM.encode()),
    REPLAY_COUNT: re.compile(rb"[0-9]{1,9}"),
    ERROR_ATTEMPTS: re.compile(rb"[0-9]{1,9}"),
    ERROR_FIRST_FAILED_AT: re.compile(rb"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.+]{8,24}"),
    ORIGINAL_TOPIC: re.compile(rb"[a-zA-Z0-9._-]{1,249}"),
    ORIGINAL_PARTITION: re.compile(rb"[0-9]{1,9}"),
    ORIGINAL_OFFSET: re.compile(rb"[0-9]{1,18}"),
    ORIGINAL_TIMESTAMP: re.compile(rb"-?[0-9]{1,18}"),
}
# Inputs of a pipeline: the part of their names after that of the pipeline.
_INPUTS = ("raw", "labels", "raw.replay")
LabelResult = Literal["joined", "waiting", "duplicate", "expired", "contradicting"]
LeftOut = Literal["filtered", "tombstone", "label_filtered", "label_tombstone"]
"""Outcome of an event, or of a label, of a source that `ingest` does not forward."""

# Replays that are remembered; of more, the first ones are forgotten.
MAX_REPLAYS = 20


def replay_headers(record: Record) -> Mapping[str, str]:
    """Return the headers that a replay wrote, empty if the record is none of a replay.

    The origin must be an input of the same kind and pipeline; or, for a record of a source, any
    topic that is no input of the pipeline.
    """
    found = {name: content or b"" for name, content in record.headers if name in _FORMS}
    if REPLAY_ID not in found:
        return {}
    if not all(form.fullmatch(found.get(name, b"")) for name, form in _FORMS.items()):
        return {}
    texts = {name: content.decode() for name, content in found.items()}
    return texts if _is_origin(texts[ORIGINAL_TOPIC], record) else {}


def _is_origin(topic: str, record: Record) -> bool:
    """Return True if a record may have failed in a topic before."""
    if topic.removesuffix(".replay") == record.topic.removesuffix(".replay"):
        return True
    # The name of a pipeline has no dot.
    pipeline = record.topic.partition(".")[0]
    is_own = topic in [f"{pipeline}.{name}" for name in _INPUTS]
    return not is_own and any(name == SOURCE for name, _ in record.headers)


class ReplayedRecords:
    """Counts of replayed records by replay and outcome, for one partition; part of its state.

    Records that are scored or fail again are not counted here: what is written of them names the
    replay.
    """

    def __init__(self, counts: Mapping[str, Mapping[str, int]] | None = None) -> None:
        self._counts = {name: Counter(found) for name, found in (counts or {}).items()}

    def count(self, record: Record, outcome: LabelResult | LeftOut, change: int = 1) -> None:
        """Count the outcome of a record if it was replayed."""
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
