"""Learned expectation of a binary label, given the served probability and earlier labels."""

from math import exp, log, sqrt

from stream_app.core.alarms.evidence import DAY_MS, HOUR_MS, PlainState

# Means of the last residuals: half-lives in labels, and labels that the prior of 0 counts as.
_HALF_LIVES: tuple[float, ...] = (30.0, 100.0, 400.0)
_PRIORS: tuple[float, ...] = (3.0, 5.0, 10.0)
_CELL_PRIOR = 2.0
_RATE = 0.3

# The weights that are used are as old, so that a disturbance does not explain itself.
_AGE_DAYS = 3
# Days for which weights are kept to return to.
_KEPT_DAYS = 8
# Number of cells of event time at the same time; longer horizons have wider cells.
_MAX_CELLS = 720
_MAX_LOGIT = 6.0

# Indices of weights: a constant, the logit, three means of residuals, the cell's mean; then one for
# each doubling of the label's age, from less than an hour to more than 2,047 hours.
_CELL = 5
_SIZE = 6
_AGES = 12


def sigmoid(value: float) -> float:
    """Return 1 / (1 + e^-value), from .001 to .999."""
    if value > 6.9:
        return 0.999
    if value < -6.9:
        return 0.001
    return min(max(1.0 / (1.0 + exp(-value)), 0.001), 0.999)


class FlipNull:
    """Logistic regression of a label on the served probability and on labels that came earlier.

    Features are a constant, the logit of the probability, the means of the last residuals, the
    mean residual of the events of the same hour whose labels came earlier, and the age of the label
    in strata that double: where positives become known sooner than negatives, labels are compared
    with those of about their age. The weights that predict are those of the start of the day three
    days ago.

    Args:
        horizon_ms: longest time from an event to its label in milliseconds.

    Attributes:
        learns: False while the weights stay as they are.
    """

    def __init__(self, horizon_ms: int) -> None:
        self._horizon_ms: int = horizon_ms
        hours = -(-horizon_ms // (_MAX_CELLS * HOUR_MS))
        self._cell_ms: int = max(hours, 1) * HOUR_MS
        self._decays: list[float] = [2.0 ** (-1.0 / half_life) for half_life in _HALF_LIVES]
        self._residuals: list[float] = [0.0] * len(_HALF_LIVES)
        self._counts: list[float] = [0.0] * len(_HALF_LIVES)
        # Sum and number of the residuals by cell of event time.
        self._cells: dict[int, list[float]] = {}
        self._weights: list[float] = [0.0, 1.0] + [0.0] * (_SIZE - 2 + _AGES)
        self._gradients: list[float] = [1.0] * (_SIZE + _AGES)
        # Weights at the starts of the last days, oldest first.
        self._kept: list[tuple[int, list[float]]] = []
        self._old: list[float] = self._weights.copy()
        self._features: list[float] = [1.0, 0.0, 0.0, 0.0, 0.0, 0.0]
        self._key: int = 0
        self._age: int = _SIZE
        self._probability: float = 0.5
        self.learns: bool = True

    def predict(self, event_time: int, label_time: int, probability: float) -> float:
        """Return the expected logit of a label, from -6 to 6, before the label is known.

        Args:
            event_time: time of the event in Unix milliseconds.
            label_time: time at which the label became known in Unix milliseconds.
            probability: served probability of a positive label.
        """
        p = min(max(probability, 0.001), 0.999)
        self._probability = p
        features = self._features
        features[1] = log(p / (1.0 - p))
        for i in range(3):
            features[2 + i] = self._residuals[i] / (self._counts[i] + _PRIORS[i])
        self._key = event_time // self._cell_ms
        cell = self._cells.get(self._key)
        features[_CELL] = 0.0 if cell is None else cell[0] / (cell[1] + _CELL_PRIOR)
        hours = max(label_time - event_time, 0) // HOUR_MS + 1
        self._age = _SIZE + min(hours.bit_length(), _AGES) - 1
        logit = _product(self._old, features) + self._old[self._age]
        return min(max(logit, -_MAX_LOGIT), _MAX_LOGIT)

    def learn(self, label: float) -> None:
        """Learn the label, 0 or 1, of the event of the last `predict`."""
        residual = label - self._probability
        if self.learns:
            self._learn_weights(label)
        for i in range(3):
            self._residuals[i] = self._residuals[i] * self._decays[i] + residual
            self._counts[i] = self._counts[i] * self._decays[i] + 1.0
        cell = self._cells.get(self._key)
        if cell is None:
            self._cells[self._key] = [residual, 1.0]
        else:
            cell[0] += residual
            cell[1] += 1.0

    def start_hour(self, time: int) -> None:
        """Forget the cells whose labels have all come by a label time in Unix milliseconds."""
        first = (time - self._horizon_ms) // self._cell_ms
        for key in [key for key in self._cells if key < first]:
            del self._cells[key]

    def start_day(self, day: int) -> None:
        """Keep the weights, and use those of the start of the day three days ago."""
        kept = self._kept
        kept.append((day, self._weights.copy()))
        while len(kept) > 1 and kept[1][0] <= day - _KEPT_DAYS:
            del kept[0]
        for since, weights in kept:
            if since <= day - _AGE_DAYS:
                self._old = weights

    def return_to(self, time: int) -> None:
        """Return to the newest kept weights from before a label time, if there are any."""
        before = [weights for day, weights in self._kept if day * DAY_MS <= time]
        if before:
            self._weights = before[-1].copy()
            self._kept = [
                (day, weights if day * DAY_MS <= time else before[-1])
                for day, weights in self._kept
            ]

    def state(self) -> PlainState:
        """Return plain data for a checkpoint."""
        cells = [[key, *cell] for key, cell in sorted(self._cells.items())]
        kept = [[day, weights.copy()] for day, weights in self._kept]
        vectors = [self._weights, self._gradients, self._old, self._residuals, self._counts]
        return [*(vector.copy() for vector in vectors), kept, cells, self.learns]

    def restore(self, state: PlainState) -> None:
        """Continue from what `state` returned."""
        self._weights, self._gradients, self._old = list(state[0]), list(state[1]), list(state[2])
        self._residuals, self._counts = list(state[3]), list(state[4])
        self._kept = [(day, list(weights)) for day, weights in state[5]]
        self._cells = {key: [residual, n] for key, residual, n in state[6]}
        self.learns = state[7]

    def _learn_weights(self, label: float) -> None:
        """Make a step of AdaGrad; Duchi, Hazan, Singer (2011)."""
        features, weights, gradients = self._features, self._weights, self._gradients
        age = self._age
        error = label - sigmoid(_product(weights, features) + weights[age])
        gradients[age] += error * error
        weights[age] += _RATE * error / sqrt(gradients[age])
        for i in range(_SIZE):
            gradient = error * features[i]
            gradients[i] += gradient * gradient
            weights[i] += _RATE * gradient / sqrt(gradients[i])


def _product(weights: list[float], features: list[float]) -> float:
    found = weights[0]
    for i in range(1, _SIZE):
        found += weights[i] * features[i]
    return found
