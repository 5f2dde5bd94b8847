"""Reading the examples log, whatever may be in it."""

from operator import itemgetter
from typing import Any

import orjson

from stream_app.core.evaluation.prediction_task import PredictionTask
from stream_app.core.example import Example

_in_order = itemgetter(*Example._fields)


def decode_example(value: bytes | None, task: PredictionTask) -> Example | str:
    """The example, or why it is none: "empty", "undecodable", "unknown-kind" or "wrong-type"."""
    if value is None:
        return "empty"
    try:
        fields: dict[str, Any] = orjson.loads(value)
        if fields["kind"] != "example":
            return "unknown-kind"
        example = Example._make(_in_order(fields))
    except (ValueError, TypeError, KeyError):
        return "undecodable"
    return example if _well_typed(example, task) else "wrong-type"


def _well_typed(example: Example, task: PredictionTask) -> bool:
    return (
        task.takes(example.label)
        and type(example.label_time) is int
        and type(example.event_time) is int
        and type(example.model_version) is int
        and type(example.features) is dict
        and task.checked(example.score) is not None
    )
