"""What befell a worker: the first transaction after its bad end, or after a pause, tells of it."""

from collections.abc import Mapping, Sequence

from stream_app.core.monitoring.alarms import Alarms
from stream_app.core.monitoring.corrective_actions import CorrectiveActions
from stream_app.records import InputPartition, Output, Record
from stream_app.worker.outages import Outage, OutageTracker
from stream_app.worker.processor import Processor
from stream_app.worker.restart_history import RestartHistory
from stream_app.worker.roles.reporter import TaskReporter

PAUSE_ALARM = "paused"


class FaultPublisher:
    """A processor that also tells how earlier lives of its worker ended, and when it could not go on.

    Of a task's parts the first to commit does. What dies before that commit is told by the next life; should the
    worker die right after it, it is told twice.
    """

    def __init__(
        self,
        processor: Processor,
        lives: RestartHistory,
        pauses: OutageTracker,
        reporter: TaskReporter,
    ) -> None:
        self._processor = processor
        self._lives = lives
        self._pauses = pauses
        self._reporter = reporter
        self._actions = CorrectiveActions()
        self._telling = False
        self._telling_pauses: list[Outage] = []

    def restore(self, committed: Mapping[InputPartition, int]) -> Mapping[InputPartition, int]:
        """As the processor does."""
        return self._processor.restore(committed)

    @property
    def holding(self) -> str:
        """What the processor's records wait for."""
        return self._processor.holding

    def ready(self, records: Sequence[Record], now: int) -> int:
        """As the processor does."""
        return self._processor.ready(records, now)

    def process(self, source: InputPartition, records: Sequence[Record], now: int) -> list[Output]:
        """As the processor does."""
        return self._processor.process(source, records, now)

    def idle(self, now: int, at_end: bool) -> list[Output]:
        """What the processor has, and what befell the worker."""
        return self._processor.idle(now, at_end) + self._tell(now)

    def before_commit(self, positions: Mapping[InputPartition, int], now: int) -> list[Output]:
        """What the processor has, and what befell the worker."""
        return self._tell(now) + self._processor.before_commit(positions, now)

    def after_commit(self) -> None:
        """It is told."""
        if self._telling:
            self._lives.told()
            self._telling = False
        if self._telling_pauses:
            self._pauses.told(self._telling_pauses)
            self._telling_pauses = []
        self._reporter.show(self._actions, Alarms())
        self._processor.after_commit()

    def _tell(self, now: int) -> list[Output]:
        outputs: list[Output] = []
        untold = self._lives.claim()
        if untold:
            self._telling = True
            for cause, count in untold.items():
                self._actions.note("restart", cause, now, count)
        for pause in self._pauses.claim():
            self._telling_pauses.append(pause)
            self._actions.note("resume", pause.cause, pause.until)
            outputs += self._reporter.due(CorrectiveActions(), _alarm(pause), now)
        return outputs + self._reporter.due(self._actions, Alarms(), now)


def _alarm(pause: Outage) -> Alarms:
    """An alarm that has been, and is over; its value is its length in seconds."""
    alarms = Alarms()
    alarms.raise_(PAUSE_ALARM, pause.cause, pause.since, value=(pause.until - pause.since) / 1000)
    alarms.end(PAUSE_ALARM, pause.until)
    return alarms
