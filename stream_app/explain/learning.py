"""Which version was the first to learn an example, given the decisions around it in the log."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from stream_app.core.control import SWITCHES, Control
from stream_app.management.registry import Registry

Controls = Iterable[tuple[int, Control]]


class FirstLearner(NamedTuple):
    """`version` is the first one still kept that has learned it, `first` whether none before it was retired.

    None if there is none, with `why` as far as a decision is the reason.
    """

    version: int | None
    first: bool
    why: str = ""


def first_learner(registry: Registry, offset: int, before: Control | None, after: Controls) -> FirstLearner:
    """Of the example at `offset`; `before` is the last hold or resumption before it, `after` are decisions after it.

    Those are read no further than needed.
    """
    decisions, start = iter(after), offset
    if before is not None and before.act == "hold":
        resumed = next(((place, one) for place, one in decisions if one.act == "resume"), None)
        if resumed is None:
            return FirstLearner(None, True, "learning was held, and still is")
        start, control = resumed
        if control.since is None or control.since > offset:
            return FirstLearner(None, True, "learning was held, and went on without it")
    learned = [number for number, manifest in registry.versions.items() if manifest.origin == "learned"]
    version = next((number for number in learned if number > start), None)
    forgotten = _forgotten(registry, offset, decisions, version)
    if forgotten is not None:
        return FirstLearner(None, True, forgotten)
    return FirstLearner(version, any(number <= offset for number in learned))


def _forgotten(
    registry: Registry, offset: int, decisions: Iterator[tuple[int, Control]], end: int | None
) -> str | None:
    """Why the first version after it is without it, if a decision between them has chosen an older one."""
    found = None
    for place, control in decisions:
        if end is not None and place >= end:
            break
        if control.act in SWITCHES:
            again = control.since is not None and control.since <= offset
            found = (
                None if again else f"a {control.act} to version {control.version} at offset {place} went on without it"
            )
    return found
