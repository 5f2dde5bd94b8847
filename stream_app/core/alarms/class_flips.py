"""Flipped labels of classes: each frequent class against the rest."""

from collections.abc import Mapping

from stream_app.core.alarms.evidence import AlarmFinding, PlainState
from stream_app.core.alarms.flip_check import FlipCheck
from stream_app.core.alarms.flip_detector import FlipDetector

# Number of classes with a detector of their own: the first that come.
MAX_CLASSES = 8
# Limit of the detector of a class, so that only the mean of all raises an alarm.
_UNREACHABLE = 1e300


class ClassFlipDetector(FlipCheck):
    """One detector per class, of the class against the rest; their mean evidence raises the alarm.

    The mean of evidences is evidence, however the classes depend on each other, so their number
    costs nothing of the budget.

    Args:
        limit: mean evidence at which an alarm is raised.
        horizon_ms: longest time from an event to its label in milliseconds.
    """

    def __init__(self, limit: float, horizon_ms: int) -> None:
        self._limit: float = limit
        self._horizon_ms: int = horizon_ms
        self._begins: int | None = None
        self._classes: dict[str, FlipDetector] = {}

    def start(self, first_event: int) -> None:
        """Set the time of the first event in Unix milliseconds; only the first call counts."""
        if self._begins is None:
            self._begins = first_event
            for detector in self._classes.values():
                detector.start(first_event)

    def check(
        self, label_time: int, event_time: int, label: object, score: object
    ) -> AlarmFinding | None:
        """Bet on a class and learn it; a class without a served probability has 0."""
        if not isinstance(label, str) or not isinstance(score, Mapping):
            return None
        if label not in self._classes and len(self._classes) < MAX_CLASSES:
            self._add_class(label, label_time)
        for name, detector in self._classes.items():
            probability = float(score.get(name, 0.0))
            detector.add(label_time, event_time, label == name, probability)
        return self._found(label_time)

    def restart(self) -> None:
        """Forget the evidence, but nothing that was learned."""
        for detector in self._classes.values():
            detector.restart()

    def hold(self, since: int) -> None:
        """Forget the evidence, and learn nothing since a label time: an alarm was opened."""
        for detector in self._classes.values():
            detector.hold(since)

    def resume(self) -> None:
        """Forget the evidence, and learn again: the alarm was closed."""
        for detector in self._classes.values():
            detector.resume()

    def state(self) -> PlainState:
        """Return plain data for a checkpoint."""
        return [self._begins, [[name, one.state()] for name, one in self._classes.items()]]

    def restore(self, state: PlainState) -> None:
        """Continue from what `state` returned."""
        self._begins = state[0]
        self._classes = {}
        for name, content in state[1]:
            self._classes[name] = FlipDetector(_UNREACHABLE, self._horizon_ms)
            self._classes[name].restore(content)

    def _add_class(self, name: str, label_time: int) -> None:
        """Add a detector; that of a class that comes later has a warm-up of its own."""
        detector = self._classes[name] = FlipDetector(_UNREACHABLE, self._horizon_ms)
        if self._begins is not None:
            detector.start(max(self._begins, label_time - self._horizon_ms))

    def _found(self, label_time: int) -> AlarmFinding | None:
        total, best, name = 0.0, -1.0, ""
        for key, detector in self._classes.items():
            evidence = detector.evidence
            total += evidence
            if evidence > best:
                best, name = evidence, key
        mean = total / max(len(self._classes), 1)
        if mean < self._limit:
            return None
        since, flipped = self._classes[name].heaviest()
        self.restart()
        return AlarmFinding(label_time, since, mean, self._limit, name, flipped)
