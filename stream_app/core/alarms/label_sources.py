"""Detectors of labels by source: an alarm about labels names the source that they come from."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from stream_app.core.alarms.evidence import DAY_MS, PlainState
from stream_app.core.alarms.flip_detector import WARM_UP_DAYS
from stream_app.core.alarms.label_detector import LabelAlarm, LabelDetector, LabelType
from stream_app.core.alarms.label_feed import ServedLabel
from stream_app.core.reading.event_time import NEVER

SHARED = "labels"
"""Source of the labels that have no detector of their own."""

# Declared sources with detectors of their own, and labels a day that such a source has.
MAX_SOURCES = 20
MIN_PER_DAY = 300


class SourceAlarm(NamedTuple):
    """Alarm about the labels of a source."""

    source: str
    alarm: LabelAlarm


class LabelSources:
    """Detectors of labels: one for each declared source that has enough, one for all others.

    Until bets begin, the labels of a source are learned by its own detector and by the shared one.
    Then it is decided once, by the number of labels so far, which of the two bets on them.

    Args:
        label_type: type of the labels.
        rate: false alarms per year of all detectors together, which share it evenly.
        horizon_ms: longest time from an event to its label in milliseconds.
        absent: label that is assumed where none came; None if nothing is assumed.
        declared: names of the declared sources, of which the first twenty get detectors.
    """

    def __init__(
        self,
        label_type: LabelType,
        rate: float,
        horizon_ms: int,
        absent: bool | None,
        declared: Sequence[str] = (),
    ) -> None:
        names = [*(name for name in declared[:MAX_SOURCES] if name != SHARED), SHARED]
        self._detectors = {
            name: LabelDetector(label_type, rate / len(names), horizon_ms, absent) for name in names
        }
        self._horizon = horizon_ms
        # Labels by declared source until it is decided, and when that is.
        self._counts = dict.fromkeys(names[:-1], 0)
        self._decides_at = NEVER
        self._decided = not self._counts

    @property
    def names(self) -> list[str]:
        """Names of the sources that have detectors, the shared one last."""
        return list(self._detectors)

    def __getitem__(self, source: str) -> LabelDetector:
        return self._detectors[source]

    def start(self, first_event: int) -> None:
        """Set the time of the first event in Unix milliseconds; only the first call counts."""
        if self._decides_at == NEVER:
            self._decides_at = first_event + self._horizon + WARM_UP_DAYS * DAY_MS
        for detector in self._detectors.values():
            detector.start(first_event)

    def add(self, label: ServedLabel, source: str | None, *, assumed: bool) -> None:
        """Add a label in the order of the log.

        Args:
            label: the label.
            source: name of its source, None if it has none.
            assumed: True if it was assumed, because none came.
        """
        own = self._detectors.get(source or SHARED)
        if own is not None:
            own.add(label, assumed)
        if source in self._counts and not assumed:
            self._counts[source] += 1
        if own is None or (source in self._counts and not self._decided):
            self._detectors[SHARED].add(label, assumed)

    def release(self, watermark: int) -> list[SourceAlarm]:
        """Pass labels on to the detectors, up to the least watermark of the partitions.

        Returns:
            The alarms that they raise.
        """
        found = [
            SourceAlarm(name, alarm)
            for name, detector in self._detectors.items()
            for alarm in detector.release(watermark)
        ]
        if not self._decided and NEVER < self._decides_at <= watermark:
            self._decide()
        return found

    def restart(self) -> None:
        """Forget the evidence, but nothing that was learned, because another version is served."""
        for detector in self._detectors.values():
            detector.restart()

    def state(self) -> PlainState:
        """Return plain data for a checkpoint."""
        detectors = {name: one.state() for name, one in self._detectors.items()}
        return [self._decides_at, self._decided, self._counts.copy(), detectors]

    def restore(self, state: PlainState) -> None:
        """Continue from what `state` returned, except with sources that were not declared then."""
        self._decides_at, self._decided, counts, detectors = state
        own: Mapping[str, PlainState] = detectors
        known = [name for name in self._counts if name in counts]
        if self._decided:
            for name in known:
                if name not in own:
                    del self._detectors[name]
        self._counts |= {name: counts[name] for name in known}
        for name, detector in self._detectors.items():
            if name in own:
                detector.restore(own[name])

    def _decide(self) -> None:
        """Leave the labels of each source to its own detector, or to the shared one."""
        self._decided = True
        for name, count in self._counts.items():
            if count < MIN_PER_DAY * WARM_UP_DAYS:
                del self._detectors[name]
