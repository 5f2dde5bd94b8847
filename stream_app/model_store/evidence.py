"""Evidence of a model version: what it has learned, and the prior for events that it cannot score.

An untrained model may be unable to score: a scaler without a minimum, the maximum of a group
without a value. Then nothing would ever be learned, so such an event gets the prior.
"""

from dataclasses import dataclass
from typing import Any

from stream_app.core.learning.finite_learning import lacks_group_values
from stream_app.records import Features, Score


@dataclass(frozen=True, slots=True)
class ModelEvidence:
    """Evidence of one version.

    Attributes:
        prior: score without a model, from the labels before the version.
        learned: number of examples that it has learned.
        features: names of the features in them.
    """

    prior: Score
    learned: int
    features: frozenset[str]

    def prior_for(self, model: Any, features: Features) -> Score | None:
        """Return the prior if the model has learned nothing about an event, else None.

        That is: the model has learned no example, or none with a feature of the event, or an
        aggregate (`Agg`, `TargetAgg`) has no value for the event's group.

        Args:
            model: River model, which has failed to score the event.
            features: features of the event.
        """
        if self.learned == 0 or not features.keys() <= self.features:
            return self.prior
        try:
            return self.prior if lacks_group_values(model, features) else None
        # A model may raise anything.
        except Exception:
            return None
