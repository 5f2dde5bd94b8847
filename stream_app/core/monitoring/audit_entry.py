"""The audit: what was done about a pipeline, by whom and why, one record of `schemas/audit.avsc` each."""

from collections.abc import Mapping
from typing import Literal

import orjson

from stream_app.formatting import iso_time
from stream_app.records import Output

ActName = Literal[
    "publish",
    "promote",
    "rollback",
    "pause",
    "resume",
    "pin",
    "unpin",
    "train",
    "collect",
    "key-create",
    "key-rotate",
    "key-revoke",
    "thresholds",
]
"""What can be done about models; about dead letters see `stream_app.dead_letters`."""

_NOTHING: Mapping[str, str] = {}
_NO_COUNTS: Mapping[str, int] = {}


def act_output(
    pipeline: str,
    act: ActName,
    *,
    at: int,
    who: str,
    what: str,
    why: str,
    before: str | None = None,
    after: str | None = None,
    identity: str = "",
    counts: Mapping[str, int] = _NO_COUNTS,
    options: Mapping[str, str] = _NOTHING,
) -> Output:
    """The record of an act at `at` (epoch ms), by `who` ("user@host", or "learner").

    `what` says in words what it is about ("version 12", "learning"), `before` and `after` how that was and is now.
    `identity` is what the act is called; without, its name and time.
    """
    name = identity or f"{act}-{at}"
    fields = {
        "id": name,
        "operation": act,
        "pipeline": pipeline,
        "at": iso_time(at),
        "who": who,
        "what": what,
        "why": why,
        "counts": dict(counts),
        "options": dict(options),
        "before": before,
        "after": after,
    }
    return Output("audit", 0, name.encode(), orjson.dumps(fields))
