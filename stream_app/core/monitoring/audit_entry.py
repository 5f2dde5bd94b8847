"""Audit entries: operations on a pipeline, each one record of `schemas/audit.avsc`."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import orjson

from stream_app.formatting import iso_time
from stream_app.records import Output

ModelOperation = Literal[
    "publish",
    "promote",
    "rollback",
    "pause",
    "resume",
    "exclude",
    "include",
    "pin",
    "unpin",
    "train",
    "collect",
    "key-create",
    "key-rotate",
    "key-revoke",
    "thresholds",
    "window",
]
"""Operations on models, learning, keys and monitoring."""

AlarmOperation = Literal["acknowledge", "silence", "unsilence"]
"""Operations on alarms of the monitor."""

DeadLetterOperation = Literal["replay", "stop", "finish", "park", "drop", "restore"]
"""Operations on dead letters; a replay ends with "stop" or "finish"."""

_NO_OPTIONS: Mapping[str, str] = {}
_NO_COUNTS: Mapping[str, int] = {}


class AuditEntry(NamedTuple):
    """An operation.

    Attributes:
        operation: name of the operation.
        at: time in Unix milliseconds.
        who: author, "user@host", "learner" or "monitor".
        what: object of the operation, such as "version 12" or "learning".
        why: reason given by the author.
        before: state before the operation.
        after: state after the operation.
        identity: id of the operation; empty for its name and time.
        counts: numbers of artifacts or dead letters.
        options: options of the operation.
    """

    operation: ModelOperation | AlarmOperation | DeadLetterOperation
    at: int
    who: str
    what: str
    why: str
    before: str | None = None
    after: str | None = None
    identity: str = ""
    counts: Mapping[str, int] = _NO_COUNTS
    options: Mapping[str, str] = _NO_OPTIONS

    def output(self, pipeline: str) -> Output:
        """Return the record to write."""
        name = self.identity or f"{self.operation}-{self.at}"
        fields = {
            "id": name,
            "operation": self.operation,
            "pipeline": pipeline,
            "at": iso_time(self.at),
            "who": self.who,
            "what": self.what,
            "why": self.why,
            "counts": dict(self.counts),
            "options": dict(self.options),
            "before": self.before,
            "after": self.after,
        }
        return Output("audit", 0, name.encode(), orjson.dumps(fields))
