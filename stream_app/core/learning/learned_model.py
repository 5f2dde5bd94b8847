"""What a learner has in hand, and may exchange: a model, and how much of the log is in it."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field, fields
from typing import Any

from stream_app.core.example import Example


@dataclass(slots=True, kw_only=True)
class LearnedModel:
    """A model, and what it has learned.

    `learned` counts examples, `learned_through` is the largest label time among them (epoch ms), `learned_to` the
    offset from which on it has learned none, `features` are the names of all features that it has seen. `laboratory`
    are the metrics of the trained version that it descends from.
    """

    model: Any
    learned: int = 0
    learned_through: int | None = None
    learned_to: int = 0
    features: frozenset[str] = frozenset()
    laboratory: Mapping[str, float] = field(default_factory=dict)

    def learn(self, offset: int, example: Example) -> None:
        """Learn an example; raises whatever the model raises, which the example then does not count for."""
        self.learned_to = offset + 1
        self.model.learn_one(example.features, example.label)
        self.learned += 1
        if not self.features.issuperset(example.features):
            self.features |= example.features.keys()
        if self.learned_through is None or example.label_time > self.learned_through:
            self.learned_through = example.label_time

    def copied(self) -> "LearnedModel":
        """The same once more, which learns without a change to this one."""
        return LearnedModel(**{name: deepcopy(getattr(self, name)) for name in _FIELDS})

    def take(self, other: "LearnedModel") -> None:
        """Go on with the other's model."""
        for name in _FIELDS:
            setattr(self, name, getattr(other, name))


_FIELDS = tuple(one.name for one in fields(LearnedModel))
