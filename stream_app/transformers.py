"""Additional transformers for River models."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from river import base


class Pick(base.Transformer):  # type: ignore[misc]  # River's bases are not checked
    """Selects the named features, in the given order.

    River's `Select` keeps its names in a set, whose order differs between processes. Sums over
    the features then differ in the last digit, and learning the same examples does not reproduce
    a model bit for bit.

    >>> Pick(["distance", "hour"]).transform_one({"hour": 7, "carrier": "AA", "distance": 1400})
    {'distance': 1400, 'hour': 7}
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)

    def transform_one(self, x: Mapping[str, Any]) -> dict[str, Any]:
        """Return the selected features.

        Raises:
            KeyError: a feature is missing.
        """
        return {name: x[name] for name in self.names}


# River's Pipeline treats a supervised step as a transformer only if it is a `base.Transformer`.
class TargetRate(base.SupervisedTransformer, base.Transformer):  # type: ignore[misc]  # River's bases are not checked
    """Encodes categorical features as the recent mean of the label (target encoding).

    The mean is exponentially weighted and shrunk towards the mean over all categories. Unlike
    River's `TargetAgg`, predicting never changes the transformer's state.

    Args:
        by: names of the features whose combined value is the category.
        half_life: observations of a category after which an observation counts half.
        prior_weight: weight of the overall mean, as a number of observations of the category.
        prior_half_life: half-life of the overall mean, in observations of all categories. It
            starts at one half.
        max_keys: number of categories to keep. The least recently learned one is dropped.

    Raises:
        TypeError: `by` is a single name.
        ValueError: a parameter is not positive.

    Micci-Barreca (2001), "A preprocessing scheme for high-cardinality categorical attributes in
    classification and prediction problems", SIGKDD Explorations 3(1).

    >>> rate = TargetRate(by=["carrier"], half_life=10, prior_weight=1)
    >>> rate.transform_one({"carrier": "AA"})
    {'rate_by_carrier': 0.5}
    >>> for late in (True, True, False, True):
    ...     rate.learn_one({"carrier": "AA"}, late)
    >>> round(rate.transform_one({"carrier": "AA"})["rate_by_carrier"], 3)
    0.733
    >>> round(rate.transform_one({"carrier": "UA"})["rate_by_carrier"], 3)
    0.7
    """

    def __init__(
        self,
        by: Sequence[str],
        half_life: float = 100.0,
        prior_weight: float = 10.0,
        prior_half_life: float = 1000.0,
        max_keys: int = 10_000,
    ) -> None:
        if isinstance(by, str):
            raise TypeError("by must be a list of feature names, not one name")
        if min(half_life, prior_half_life, prior_weight) <= 0 or max_keys < 1:
            raise ValueError("half-lives, prior_weight and max_keys must be positive")
        self.by = by
        self.half_life = half_life
        self.prior_weight = prior_weight
        self.prior_half_life = prior_half_life
        self.max_keys = max_keys
        self._name = "rate_by_" + "_and_".join(by)
        self._keep = 0.5 ** (1 / half_life)
        self._keep_all = 0.5 ** (1 / prior_half_life)
        # Decayed sum of labels and decayed number of observations.
        self._all = (0.5, 1.0)
        # The same for each category, least recently learned first.
        self._rates: dict[Hashable, tuple[float, float]] = {}

    def learn_one(self, x: dict[Any, Any], y: Any) -> None:
        """Update the means with a label, a boolean or a number."""
        key = self._key(x)
        total, weight = self._rates.pop(key, (0.0, 0.0))
        self._rates[key] = (total * self._keep + y, weight * self._keep + 1.0)
        if len(self._rates) > self.max_keys:
            del self._rates[next(iter(self._rates))]
        total, weight = self._all
        self._all = (total * self._keep_all + y, weight * self._keep_all + 1.0)

    def transform_one(self, x: dict[Any, Any]) -> dict[Any, Any]:
        """Return the mean as feature `rate_by_<by>`; unknown categories get the overall mean."""
        total, weight = self._all
        prior = total / weight
        total, weight = self._rates.get(self._key(x), (0.0, 0.0))
        return {self._name: (total + self.prior_weight * prior) / (weight + self.prior_weight)}

    def _key(self, x: dict[Any, Any]) -> Hashable:
        by = self.by
        return x.get(by[0]) if len(by) == 1 else tuple([x.get(name) for name in by])
