"""All detectors of the labels of one source, behind the feed that sorts the labels."""

from typing import Literal, NamedTuple

from stream_app.core.alarms.alarm_budget import DAYS_A_YEAR, HOURS_A_YEAR
from stream_app.core.alarms.class_flips import ClassFlipDetector
from stream_app.core.alarms.evidence import DAY_MS, HOUR_MS, AlarmFinding, PlainState
from stream_app.core.alarms.flip_check import FlipCheck
from stream_app.core.alarms.flip_detector import WARM_UP_DAYS, FlipDetector
from stream_app.core.alarms.label_feed import LabelFeed, LabelOffsets, ServedLabel
from stream_app.core.alarms.number_flips import LARGE_SHARE, NumberFlipDetector
from stream_app.core.alarms.positive_share import PositiveShareDetector
from stream_app.core.reading.event_time import NEVER

LabelType = Literal["binary", "class", "number"]
LabelCheck = Literal["flips", "share"]

# A tenth of the datings are later than the truth by more than that.
_MARGIN_MS = 8 * HOUR_MS
# Decay per label of what labels there are; least share of the labels that are also assumed.
_DECAY: float = 2.0 ** (-1.0 / 500.0)
MIN_EXPLICIT = 0.02


class LabelAlarm(NamedTuple):
    """Alarm about labels.

    Attributes:
        check: `flips`, or `share` of positive labels (of large residuals, for numbers).
        finding: evidence, and the label time since which there is some.
        first_offset: smallest offset to go back to: of the labels since eight hours before that
            time; None if it is not known.
    """

    check: LabelCheck
    finding: AlarmFinding
    first_offset: int | None


class LabelDetector:
    """Detectors of the labels of one source.

    Args:
        label_type: type of the labels.
        rate: false alarms per year of the source; it is split evenly over the checks.
        horizon_ms: longest time from an event to its label in milliseconds.
        absent: label that is assumed where none came; None if nothing is assumed.

    Attributes:
        feed: labels that wait for the watermark.
        assumed: number of labels that were assumed, which are never evidence.
        begins_at: label time of the first bets in Unix milliseconds, `NEVER` before `start`.
    """

    def __init__(
        self, label_type: LabelType, rate: float, horizon_ms: int, absent: bool | None = None
    ) -> None:
        self.feed = LabelFeed()
        self.assumed: int = 0
        self.begins_at: int = NEVER
        self._horizon: int = horizon_ms
        self._absent: bool | None = absent
        # Decayed share of the labels that are as they would be assumed; half before the first.
        self._absent_share: float = 0.5
        self._offsets = LabelOffsets()
        checks = 1.0 if label_type == "class" else 2.0
        limit = HOURS_A_YEAR * checks / rate
        self._flips: FlipCheck = _flip_check(label_type, limit, horizon_ms)
        self._share = PositiveShareDetector(DAYS_A_YEAR * checks / rate)

    @property
    def off(self) -> str:
        """Reason why nothing is bet on, "" if it is or will be."""
        if isinstance(self._flips, FlipDetector) and self._flips.off:
            return "nearly all labels that come are of one kind, because the other is assumed"
        return ""

    def start(self, first_event: int) -> None:
        """Set the time of the first event in Unix milliseconds; only the first call has an effect.

        Bets begin 14 days after its label can no longer come.
        """
        if self.begins_at == NEVER:
            self.begins_at = first_event + self._horizon + WARM_UP_DAYS * DAY_MS
        self._flips.start(first_event)

    def add(self, label: ServedLabel, assumed: bool) -> None:
        """Add a label in the order of the log; `assumed` ones are counted only."""
        if assumed:
            self.assumed += 1
        else:
            self.feed.add(label)

    def release(self, watermark: int) -> list[LabelAlarm]:
        """Pass labels on to the detectors, up to the least watermark of the partitions.

        Returns:
            The alarms that they raise.
        """
        found: list[LabelAlarm] = []
        for label in self.feed.release(watermark):
            self._offsets.add(label.label_time, label.offset)
            self._notice_kind(label.label)
            flips = self._flips.check(label.label_time, label.event_time, label.label, label.score)
            if flips is not None:
                found.append(self._alarm("flips", flips))
            share = self._check_share(label)
            if share is not None:
                found.append(self._alarm("share", share))
        return found

    def restart(self) -> None:
        """Forget the evidence, but nothing that was learned, because another version is served."""
        self._flips.restart()
        self._share.restart()

    def hold(self, since: int) -> None:
        """Forget the evidence, and learn nothing since a label time: an alarm was opened."""
        self._flips.hold(since)

    def resume(self) -> None:
        """Forget the evidence, and learn again: the alarm was closed."""
        self._flips.resume()

    def state(self) -> PlainState:
        """Return plain data for a checkpoint."""
        own = [self.assumed, self._absent_share, self.feed.state(), self._offsets.state()]
        return [*own, self._share.state(), self._flips.state(), self.begins_at]

    def restore(self, state: PlainState) -> None:
        """Continue from what `state` returned."""
        self.assumed, self._absent_share = state[0], state[1]
        self.feed.restore(state[2])
        self._offsets.restore(state[3])
        self._share.restore(state[4])
        self._flips.restore(state[5])
        self.begins_at = state[6]

    def _check_share(self, label: ServedLabel) -> AlarmFinding | None:
        """Count a positive label, or a large residual of a number."""
        flips, value, score = self._flips, label.label, label.score
        if isinstance(flips, NumberFlipDetector):
            return self._share.add(label.label_time, flips.is_large, LARGE_SHARE)
        if isinstance(flips, FlipDetector) and flips.off:
            return None
        if isinstance(value, bool) and isinstance(score, (float, int)):
            return self._share.add(label.label_time, value, float(score))
        return None

    def _notice_kind(self, label: object) -> None:
        """Switch the bets off while hardly any label comes that would also be assumed."""
        flips = self._flips
        if self._absent is None or not isinstance(flips, FlipDetector):
            return
        self._absent_share = self._absent_share * _DECAY
        if label == self._absent:
            self._absent_share += 1.0 - _DECAY
        flips.off = self._absent_share < MIN_EXPLICIT

    def _alarm(self, check: LabelCheck, finding: AlarmFinding) -> LabelAlarm:
        return LabelAlarm(check, finding, self._offsets.since(finding.since - _MARGIN_MS))


def _flip_check(label_type: LabelType, limit: float, horizon_ms: int) -> FlipCheck:
    if label_type == "binary":
        return FlipDetector(limit, horizon_ms)
    if label_type == "class":
        return ClassFlipDetector(limit, horizon_ms)
    return NumberFlipDetector(limit, horizon_ms)
