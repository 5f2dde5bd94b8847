"""Rules about examples that are evaluated and not learned: paused sources and exclusions."""

from typing import Literal, NamedTuple, get_args

NotLearned = Literal["paused", "source-paused", "excluded"]
"""Reason why an example is not learned: learning, or the source of its label, is paused, or an
exclusion covers it."""
NOT_LEARNED_REASONS: tuple[NotLearned, ...] = get_args(NotLearned)

# Largest number of exclusions in force. Each is looked at for every example.
MAX_EXCLUSIONS = 100


class Exclusion(NamedTuple):
    """Span of label time whose examples are not learned.

    Attributes:
        number: number of the exclusion, counted from 1 for each pipeline.
        start: first label time, in Unix milliseconds.
        end: label time after the last one.
        source: name of the source of the labels, None for all labels.
        at: time of the decision, ISO 8601.
        who: author, "user@host".
        why: reason given by the author.
    """

    number: int
    start: int
    end: int
    source: str | None
    at: str
    who: str
    why: str

    def covers(self, label_time: int, source: str | None) -> bool:
        """Return True if an example with this label time and source of its label is excluded.

        >>> exclusion = Exclusion(1, 1000, 2000, "bank", "", "", "")
        >>> exclusion.covers(1000, "bank"), exclusion.covers(2000, "bank")
        (True, False)
        >>> exclusion.covers(1500, "shop"), exclusion._replace(source=None).covers(1500, "shop")
        (False, True)
        """
        return self.start <= label_time < self.end and self.source in (None, source)


class LearningRules(NamedTuple):
    """Rules that are in force.

    Attributes:
        paused_sources: names of the sources whose labels are not learned, sorted.
        exclusions: exclusions in force, oldest first.
        last_exclusion: number of the newest exclusion that there ever was, 0 before the first.
    """

    paused_sources: tuple[str, ...] = ()
    exclusions: tuple[Exclusion, ...] = ()
    last_exclusion: int = 0

    @property
    def is_empty(self) -> bool:
        """True if every example may be learned."""
        return not self.paused_sources and not self.exclusions

    def reason(self, label_time: int, source: str | None) -> NotLearned | None:
        """Return the reason why an example is not learned, None if it is.

        Args:
            label_time: its label time in Unix milliseconds.
            source: source of its label, None if it has none.
        """
        if source is not None and source in self.paused_sources:
            return "source-paused"
        return None if self.exclusion(label_time, source) is None else "excluded"

    def exclusion(self, label_time: int, source: str | None) -> Exclusion | None:
        """Return the oldest exclusion that covers an example, None if there is none."""
        for exclusion in self.exclusions:
            if exclusion.covers(label_time, source):
                return exclusion
        return None

    def pause(self, source: str) -> "LearningRules":
        """Return the rules with a source paused."""
        return self._replace(paused_sources=tuple(sorted({*self.paused_sources, source})))

    def resume(self, source: str) -> "LearningRules":
        """Return the rules with a source resumed."""
        return self._replace(
            paused_sources=tuple(one for one in self.paused_sources if one != source)
        )

    def exclude(self, exclusion: Exclusion) -> "LearningRules":
        """Return the rules with a further exclusion, whose number is larger than all before."""
        return self._replace(
            exclusions=(*self.exclusions, exclusion), last_exclusion=exclusion.number
        )

    def include(self, number: int) -> "LearningRules":
        """Return the rules without an exclusion."""
        return self._replace(
            exclusions=tuple(one for one in self.exclusions if one.number != number)
        )

    def has_exclusion(self, number: int) -> bool:
        """Return True if the exclusion of this number is in force."""
        return any(one.number == number for one in self.exclusions)
