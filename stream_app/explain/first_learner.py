"""Finds the first version that learned an example, given the decisions around it in the log."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from stream_app.core.learning.control_commands import VERSION_CHANGES, Control
from stream_app.core.learning.learner_state import MAX_UNLEARNED
from stream_app.model_store.model_registry import ModelRegistry

NOT_LEARNED = "it could not be learned; `unlearnable` measurements give the causes"

Decisions = Callable[[int, int | None], Iterable[tuple[int, Control]]]
"""Returns the control records with start <= offset < end, each with its offset.

An end of None is the present end of the log.
"""


class FirstLearner(NamedTuple):
    """First version that learned an example.

    Attributes:
        version: first stored version that learned it, None if there is none.
        is_first: False if an earlier version may have been deleted.
        reason: why there is none, "" if the next version will learn it.
        is_certain: False if the version may not have learned it: it names only the newest examples
            that it could not learn, and the example is older.
    """

    version: int | None
    is_first: bool
    reason: str = ""
    is_certain: bool = True


def first_learner(
    registry: ModelRegistry, offset: int, before: Control | None, decisions: Decisions
) -> FirstLearner:
    """Return the first version that learned an example.

    Args:
        registry: versions of the pipeline.
        offset: offset of the example.
        before: last pause or resumption of learning before the example.
        decisions: control records after the example.
    """
    start = offset
    if before is not None and before.command == "pause":
        resumptions = (one for one in decisions(offset, None) if one[1].command == "resume")
        resumed = next(resumptions, None)
        if resumed is None:
            return FirstLearner(None, True, "learning is paused")
        start, control = resumed
        if control.since is None or control.since > offset:
            return FirstLearner(None, True, "learning was paused and resumed after it")
    learned = [
        version for version, manifest in registry.versions.items() if manifest.origin == "learned"
    ]
    version = next((one for one in learned if one > start), None)
    reason = _discarded(offset, decisions(start, version))
    if reason:
        return FirstLearner(None, True, reason)
    if version is None:
        return FirstLearner(None, True)
    unlearned = registry.versions[version].unlearned
    if any(first <= offset < end for first, end in unlearned):
        return FirstLearner(None, True, NOT_LEARNED)
    is_certain = len(unlearned) < MAX_UNLEARNED or offset >= unlearned[0][0]
    return FirstLearner(version, any(one <= offset for one in learned), "", is_certain)


def _discarded(offset: int, decisions: Iterable[tuple[int, Control]]) -> str:
    """Return the decision that discarded the example before the next version, "" without one."""
    reason = ""
    for position, control in decisions:
        if control.command in VERSION_CHANGES:
            is_relearned = control.since is not None and control.since <= offset
            change = f"a {control.command} to version {control.version} at offset {position}"
            reason = "" if is_relearned else f"{change} discarded it"
    return reason
