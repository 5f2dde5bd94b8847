"""Records of what became of each label, which scorers publish."""

from typing import Any, Literal

import orjson

from stream_app.core.reading.record_reader import LabelEvent
from stream_app.records import Output, Record, fast_namedtuple

LabelOutcomeName = Literal[
    "joined", "unlearned", "duplicate", "expired", "contradicting", "dead-lettered"
]
# Bytes of a key that are kept if the whole record would not fit into its topic.
MAX_KEY_BYTES = 1024

_output = fast_namedtuple(Output)


def label_outcome(
    outcome: LabelOutcomeName,
    record: Record,
    label: LabelEvent | None,
    event_time: int | None,
    error_code: str | None = None,
) -> Output:
    """Return the outcome of a label as `schemas/label_outcome.avsc` describes it.

    Args:
        outcome: what became of it.
        record: its record, whose key the outcome gets.
        label: what was read of it, None if it cannot be read.
        event_time: time of the event in Unix milliseconds, None if no event is known.
        error_code: code of a dead letter.
    """
    _, partition, offset, _, key, _, _ = record
    fields: dict[str, Any] = {
        "outcome": outcome,
        "event_id": None,
        "event_time": event_time,
        "label": None,
        "label_time": None,
        "error_code": error_code,
        "label_source": None,
        "partition": partition,
        "offset": offset,
    }
    if label is not None:
        fields["event_id"], fields["label"], fields["label_time"], fields["label_source"] = label
    return _output(("label_outcomes", partition, key, orjson.dumps(fields), ()))
