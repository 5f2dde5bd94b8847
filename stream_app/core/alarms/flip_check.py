"""Detector of flipped labels, whatever their type."""

from stream_app.core.alarms.evidence import AlarmFinding, PlainState


class FlipCheck:
    """Detector of flipped labels: binary, classes or numbers.

    Labels come in order of label time; one that does not counts in the hour of the newest one.
    """

    def start(self, first_event: int) -> None:
        """Set the time of the first event in Unix milliseconds; only the first call has an effect.

        Bets begin 14 days after its label can no longer come.
        """
        raise NotImplementedError

    def check(
        self, label_time: int, event_time: int, label: object, score: object
    ) -> AlarmFinding | None:
        """Bet on a label, then learn it; values of another type are ignored.

        Args:
            label_time: time at which the label became known in Unix milliseconds.
            event_time: time of the event in Unix milliseconds.
            label: the label.
            score: the served prediction.

        Returns:
            The alarm if the evidence reaches the limit; the bets are forgotten then.
        """
        raise NotImplementedError

    def restart(self) -> None:
        """Forget the evidence, but nothing that was learned, because another version is served."""
        raise NotImplementedError

    def hold(self, since: int) -> None:
        """Forget the evidence, and learn nothing since a label time: an alarm was opened."""
        raise NotImplementedError

    def resume(self) -> None:
        """Forget the evidence, and learn again: the alarm was closed."""
        raise NotImplementedError

    def state(self) -> PlainState:
        """Return plain data for a checkpoint."""
        raise NotImplementedError

    def restore(self, state: PlainState) -> None:
        """Continue from what `state` returned."""
        raise NotImplementedError
