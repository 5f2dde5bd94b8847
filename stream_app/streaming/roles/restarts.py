"""Restarts as corrective actions: the first transaction after a worker's bad end tells of it."""

from collections.abc import Mapping, Sequence

from stream_app.core.actions import Actions
from stream_app.core.alarms import Alarms
from stream_app.core.records import Output, Record
from stream_app.lives import Lives
from stream_app.streaming.processor import Input, Processor
from stream_app.streaming.roles.reporter import Reporter


class RestartTeller:
    """A processor that also tells how earlier lives of its worker ended; once, if it is the worker's first to commit.

    What dies before that commit is told by the next life. Should the worker die right after it, it is told twice.
    """

    def __init__(self, processor: Processor, lives: Lives, reporter: Reporter) -> None:
        self._processor = processor
        self._lives = lives
        self._reporter = reporter
        self._actions = Actions()
        self._telling = False

    def restore(self, committed: Mapping[Input, int]) -> Mapping[Input, int]:
        """As the processor does."""
        return self._processor.restore(committed)

    @property
    def holding(self) -> str:
        """What the processor's records wait for."""
        return self._processor.holding

    def ready(self, records: Sequence[Record], now: int) -> int:
        """As the processor does."""
        return self._processor.ready(records, now)

    def process(self, source: Input, records: Sequence[Record], now: int) -> list[Output]:
        """As the processor does."""
        return self._processor.process(source, records, now)

    def idle(self, now: int, at_end: bool) -> list[Output]:
        """What the processor has, and the restarts."""
        return self._processor.idle(now, at_end) + self._tell(now)

    def before_commit(self, positions: Mapping[Input, int], now: int) -> list[Output]:
        """What the processor has, and the restarts."""
        return self._tell(now) + self._processor.before_commit(positions, now)

    def after_commit(self) -> None:
        """The restarts are told."""
        if self._telling:
            self._reporter.show(self._actions, Alarms())
            self._lives.told()
            self._telling = False
        self._processor.after_commit()

    def _tell(self, now: int) -> list[Output]:
        untold = self._lives.claim()
        if not untold:
            return []
        self._telling = True
        for cause, count in untold.items():
            self._actions.note("restart", cause, now, count)
        return self._reporter.due(self._actions, Alarms(), now)
