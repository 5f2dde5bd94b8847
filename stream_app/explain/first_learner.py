"""Which version was the first to learn an example, given the decisions around it in the log."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from stream_app.core.learning.examples_log import VERSION_CHANGES, Control
from stream_app.model_store.model_registry import ModelRegistry

Decisions = Callable[[int, int | None], Iterable[tuple[int, Control]]]
"""Those in the log from one offset up to another, or to its end, each with its own."""


class FirstLearner(NamedTuple):
    """`version` is the first one still kept that has learned it, `first` whether none before it was retired.

    None if there is none, with `why` as far as a decision is the reason.
    """

    version: int | None
    first: bool
    why: str = ""


def first_learner(
    registry: ModelRegistry, offset: int, before: Control | None, decisions: Decisions
) -> FirstLearner:
    """Of the example at `offset`; `before` is the last hold or resumption before it."""
    start = offset
    if before is not None and before.command == "pause":
        resumed = next(
            ((place, one) for place, one in decisions(offset, None) if one.command == "resume"),
            None,
        )
        if resumed is None:
            return FirstLearner(None, True, "learning was held, and still is")
        start, control = resumed
        if control.since is None or control.since > offset:
            return FirstLearner(None, True, "learning was held, and went on without it")
    learned = [
        number for number, manifest in registry.versions.items() if manifest.origin == "learned"
    ]
    version = next((number for number in learned if number > start), None)
    forgotten = _forgotten(offset, decisions(start, version))
    if forgotten:
        return FirstLearner(None, True, forgotten)
    return FirstLearner(version, any(number <= offset for number in learned))


def _forgotten(offset: int, decisions: Iterable[tuple[int, Control]]) -> str:
    """Why the next version is without it, if a decision before that has chosen an older one; else empty."""
    found = ""
    for place, control in decisions:
        if control.command in VERSION_CHANGES:
            again = control.since is not None and control.since <= offset
            found = (
                ""
                if again
                else f"a {control.command} to version {control.version} at offset {place} went on without it"
            )
    return found
