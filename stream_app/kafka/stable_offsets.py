"""Waiting until nothing that was written is hidden by a transaction still open."""

from collections.abc import Callable
from time import monotonic

from stream_app.errors import FencedError
from stream_app.retrying import wait_until

SHOWN_SECONDS = 5.0
"""For how long to wait, after a commit, until everybody can read what was committed: usually some milliseconds."""

_LOOK_SECONDS = 0.02


def is_settled(stable_end: Callable[[], int], written: int, patience: float) -> bool:
    """Whether everything before the offset `written` is committed or aborted, within `patience` seconds.

    `stable_end` tells where the records end that are settled.
    """
    return wait_until(monotonic() + patience, lambda: stable_end() >= written, _LOOK_SECONDS)


def still_open(topic: str) -> FencedError:
    """The error of a command that cannot decide, for somebody else may be about to."""
    return FencedError(f"A transaction on {topic} stays open", "Repeat the command in a while")
