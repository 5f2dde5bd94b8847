"""Finds the first version that learned an example, given the decisions around it in the log."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from stream_app.core.learning.control_commands import VERSION_CHANGES, Control, ControlState
from stream_app.core.learning.learner_state import MAX_UNLEARNED
from stream_app.core.learning.learning_rules import LearningRules
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


class LoggedExample(NamedTuple):
    """Example as decisions are about it.

    Attributes:
        offset: offset in the log.
        label_time: label time in Unix milliseconds.
        source: source of the label, None if it has none.
    """

    offset: int
    label_time: int = 0
    source: str | None = None


def first_learner(
    registry: ModelRegistry, example: LoggedExample, control: ControlState, decisions: Decisions
) -> FirstLearner:
    """Return the first version that learned an example.

    Args:
        registry: versions of the pipeline.
        example: the example.
        control: pauses and exclusions in force before it; it is changed.
        decisions: control records after the example.
    """
    learned = [
        version for version, manifest in registry.versions.items() if manifest.origin == "learned"
    ]
    history = _LearningHistory(example, control)
    position, version = example.offset, None
    while True:
        # An example that is not learned may be relearned by any later decision.
        if history.is_learned:
            version = next((one for one in learned if one > position), None)
        changed_at = history.advance(
            decisions(position, version if history.is_learned else None), position
        )
        if changed_at is None:
            break
        position = changed_at
    if not history.is_learned:
        return FirstLearner(None, True, history.reason)
    if version is None:
        return FirstLearner(None, True)
    return _as_named(registry, example.offset, version, learned)


def _as_named(
    registry: ModelRegistry, offset: int, version: int, learned: list[int]
) -> FirstLearner:
    """Return the version, unless it names the example as one that it could not learn."""
    unlearned = registry.versions[version].unlearned
    if any(first <= offset < end for first, end in unlearned):
        return FirstLearner(None, True, NOT_LEARNED)
    is_certain = len(unlearned) < MAX_UNLEARNED or offset >= unlearned[0][0]
    return FirstLearner(version, any(one <= offset for one in learned), "", is_certain)


class _LearningHistory:
    """Tells whether the model has learned an example, while decisions follow each other.

    Attributes:
        reason: reason why the model has not learned it, "" if it has.
    """

    def __init__(self, example: LoggedExample, control: ControlState) -> None:
        self._example = example
        self._control = control
        self._was_paused = control.paused
        self._was_source_paused = example.source in control.rules.paused_sources
        self.reason = "learning is paused" if control.paused else self._withheld()

    @property
    def is_learned(self) -> bool:
        """True if the model has learned the example."""
        return not self.reason

    def advance(self, decisions: Iterable[tuple[int, Control]], after: int) -> int | None:
        """Apply decisions until one changes if the example is learned; return its offset."""
        for offset, control in decisions:
            if offset <= after or self._control.is_void(control):
                continue
            before = self.is_learned
            self._take(offset, control)
            self._control.apply(offset, control)
            if self.is_learned != before:
                return offset
        return None

    def _take(self, offset: int, control: Control) -> None:
        example, rules = self._example, self._control.rules
        relearns = control.since is not None and control.since <= example.offset
        if control.command in VERSION_CHANGES:
            change = f"a {control.command} to version {control.version} at offset {offset}"
            if not relearns:
                self.reason = self.reason or f"{change} discarded it"
            else:
                self.reason = self._withheld()
        elif control.command == "resume" and self.reason:
            if control.source is not None and control.source == example.source:
                relearns = relearns and self._was_source_paused and not self._control.paused
                self._resume(relearns, rules.resume(control.source))
            elif control.source is None and self._was_paused:
                self._resume(relearns, rules)

    def _resume(self, relearns: bool, rules: LearningRules) -> None:
        """Note that the example is relearned, or that it never will be by a resumption."""
        self._was_paused = self._was_source_paused = False
        self.reason = (
            self._withheld(rules) if relearns else "learning was paused and resumed after it"
        )

    def _withheld(self, rules: LearningRules | None = None) -> str:
        """Return the rule by which the example is not learned, "" if there is none."""
        rules = self._control.rules if rules is None else rules
        _, label_time, source = self._example
        found = rules.exclusion(label_time, source)
        if rules.reason(label_time, source) == "source-paused":
            return f"learning from {source} is paused"
        if found is None:
            return ""
        return f"exclusion {found.number} by {found.who} covers its label: {found.why}"
