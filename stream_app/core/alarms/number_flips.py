"""Wrong labels of predicted numbers, as flips of "above the recent median"."""

from math import isfinite

from stream_app.core.alarms.evidence import AlarmFinding, PlainState
from stream_app.core.alarms.flip_check import FlipCheck
from stream_app.core.alarms.flip_detector import FlipDetector
from stream_app.core.alarms.flip_null import sigmoid

# Share of residuals that are large, and rates of the running median, mean and quantile.
LARGE_SHARE = 0.05
_MEDIAN_RATE = 0.02
_MEAN_RATE = 0.005
_QUANTILE_RATE = 0.002
# Difference of residuals and medians that is taken into account.
_MAX_NUMBER = 1e140


class NumberFlipDetector(FlipCheck):
    """Bets on which side of the recent median a label is, given on which side its prediction is.

    Labels that belong to other events, or have another sign, are on the predicted side less often.
    The sign of the residual alone would not do: its usual share may change with the weather. It
    also marks labels whose residual is larger than nineteen of twenty, for
    `PositiveShareDetector`.

    Args:
        limit: evidence at which an alarm is raised.
        horizon_ms: longest time from an event to its label in milliseconds.

    Attributes:
        is_large: True if the residual of the last label was large.
    """

    def __init__(self, limit: float, horizon_ms: int) -> None:
        self._flips = FlipDetector(limit, horizon_ms)
        self._n: int = 0
        self._median: float = 0.0
        # Mean size of the residuals, and the size that few of them exceed.
        self._size: float = 0.0
        self._large: float = 0.0
        self.is_large: bool = False

    def start(self, first_event: int) -> None:
        """Set the time of the first event in Unix milliseconds; only the first call counts."""
        self._flips.start(first_event)

    def check(
        self, label_time: int, event_time: int, label: object, score: object
    ) -> AlarmFinding | None:
        """Bet on a number and learn it; values that are no finite numbers are ignored."""
        self.is_large = False
        if not isinstance(label, (float, int)) or not isinstance(score, (float, int)):
            return None
        if not (isfinite(label) and isfinite(score)):
            return None
        y = min(max(float(label), -_MAX_NUMBER), _MAX_NUMBER)
        served = min(max(float(score), -_MAX_NUMBER), _MAX_NUMBER)
        if self._n == 0:
            self._median = y
        above = y > self._median
        scale = self._size
        probability = sigmoid((served - self._median) / scale) if scale > 0.0 else 0.5
        found = self._flips.add(label_time, event_time, above, probability)
        self._learn(y, abs(y - served))
        return found

    def restart(self) -> None:
        """Forget the evidence, but nothing that was learned."""
        self._flips.restart()

    def hold(self, since: int) -> None:
        """Forget the evidence, and learn nothing since a label time: an alarm was opened."""
        self._flips.hold(since)

    def resume(self) -> None:
        """Forget the evidence, and learn again: the alarm was closed."""
        self._flips.resume()

    def state(self) -> PlainState:
        """Return plain data for a checkpoint."""
        own = [self._n, self._median, self._size, self._large, self.is_large]
        return [*own, self._flips.state()]

    def restore(self, state: PlainState) -> None:
        """Continue from what `state` returned."""
        self._n, self._median, self._size = state[0], state[1], state[2]
        self._large, self.is_large = state[3], state[4]
        self._flips.restore(state[5])

    def _learn(self, label: float, residual: float) -> None:
        """Move median, mean size and quantile towards the newest label; quickly at first."""
        self._n += 1
        n = float(self._n)
        # A single huge residual moves the mean by no more than ten times itself.
        size = residual if self._n == 1 else min(residual, 10.0 * self._size + self._large)
        self._size += max(_MEAN_RATE, 1.0 / n) * (size - self._size)
        step = max(_MEDIAN_RATE, 1.0 / n) * self._size
        self._median += step if label > self._median else -step
        if self._n == 1:
            self._large = 2.0 * residual
        self.is_large = residual > self._large
        rate = max(_QUANTILE_RATE, 5.0 / (n + 50.0))
        self._large *= 1.0 + rate * ((1.0 if self.is_large else 0.0) - LARGE_SHARE)
