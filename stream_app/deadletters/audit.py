"""The audit: every act is a record on `<pipeline>.audit`, and a line of the log."""

from collections.abc import Mapping
from typing import Any

import orjson

from stream_app.core.records import Output
from stream_app.core.route import iso
from stream_app.deadletters.acts import Act
from stream_app.logs import get_logger

log = get_logger(__name__)


def audit_record(pipeline: str, act: Act, done: str, who: str, why: str, at: int, counts: Mapping[str, int]) -> Output:
    """A record of `schemas/audit.avsc`: what was `done` about an act (it itself, or later stop or finish), by whom."""
    value: dict[str, Any] = {
        "id": act.id,
        "act": done,
        "pipeline": pipeline,
        "at": iso(at),
        "who": who,
        "what": act.what,
        "why": why,
        "counts": dict(counts),
        "options": {name: str(option) for name, option in act.options.items() if name not in ("edit_source", "since")},
    }
    return Output("audit", 0, act.id.encode(), orjson.dumps(value))


def log_act(record: Output) -> None:
    """Say the same in the log."""
    fields = orjson.loads(record.value or b"")
    log.info("dead letters: " + fields.pop("act"), **fields.pop("counts"), **fields)
