"""What decisions in the log do to a learner; like all that it does, a function of the log alone."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from stream_app.core.example import Example
from stream_app.core.learning.control_record import LEARNER, SWITCHES, Control
from stream_app.core.learning.learned_model import LearnedModel


@dataclass(slots=True, kw_only=True)
class ControlState(LearnedModel):
    """What decisions have made of a learner.

    `epoch` counts the rollbacks and promotions; the last was at the offset `decided_at` and chose the version `base`,
    None before any. `chosen` are all versions that were ever chosen so. While learning is `held`, examples are judged
    only.
    """

    epoch: int = 0
    decided_at: int = -1
    base: int | None = None
    chosen: frozenset[int] = frozenset()
    held: bool = False

    def is_former(self, version: int) -> bool:
        """Whether a prediction was made by a version that the last decision has led away from."""
        return 0 <= version <= self.decided_at and version != self.base

    def is_void(self, control: Control) -> bool:
        """Whether the log has overtaken a decision: one taken at the same time came first, or nothing is to be done.

        What the learner itself wants to be held is void when somebody has chosen a version since.
        """
        if control.act in SWITCHES:
            return control.epoch <= self.epoch or control.version is None
        if control.act == "hold":
            return self.held or (control.who == LEARNER and control.epoch < self.epoch)
        return control.act == "resume" and not self.held

    def needs(self, control: Control) -> bool:
        """Whether `obey` needs to be given what to go on from: the version, or what learning again has made."""
        return control.act in SWITCHES or (control.act == "resume" and control.since is not None)

    def obey(self, offset: int, control: Control, start: LearnedModel | None = None) -> None:
        """Do what a decision at this offset says, which is not void, and go on from `start` if it `needs` that."""
        if control.act in SWITCHES and control.version is not None:
            self.epoch, self.decided_at, self.base = control.epoch, offset, control.version
            self.chosen |= {control.version}
        elif control.act in ("hold", "resume"):
            self.held = control.act == "hold"
        if start is not None:
            self.take(start)


def first_again(start: LearnedModel, control: Control, offset: int) -> int:
    """The first offset that a decision at `offset` has learned again: of what `start` has learned, nothing."""
    return offset if control.since is None else min(max(control.since, start.learned_to), offset)


def learn_again(
    start: LearnedModel, fingerprint: str, examples: Iterable[tuple[int, Example]]
) -> None:
    """Learn examples that have been judged before; what cannot be learned was told then."""
    for offset, example in examples:
        if example.fingerprint == fingerprint:
            with suppress(Exception):  # whatever a model raises must not stop the log
                start.learn(offset, example)
