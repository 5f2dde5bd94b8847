"""What a task did about faults and what alarms it: to `<pipeline>.monitoring`, to the log and as metrics."""

from stream_app.core.actions import Actions
from stream_app.core.alarms import Alarms
from stream_app.core.monitoring import Measurement
from stream_app.core.records import Output
from stream_app.logs import get_logger
from stream_app.metrics import ALARMS_OPEN, CORRECTIVE_ACTIONS
from stream_app.streaming.roles.alarms import show_measurements
from stream_app.streaming.roles.writers import Write, measurements_written

log = get_logger(__name__)


class Reporter:
    """Reports for one `source`: a worker, such as score-0, or a partition's task, such as score[3]."""

    def __init__(self, pipeline: str, source: str, write: Write) -> None:
        self._pipeline = pipeline
        self._source = source
        self._write = write

    def due(self, actions: Actions, alarms: Alarms, now: int) -> list[Output]:
        """The records that are due; they belong into the transaction of what they tell of."""
        taken, raised = actions.due(now), alarms.due(now)
        if taken:
            log.info("corrective actions", source=self._source, taken=[_line(report) for report in taken])
        reports = [report._replace(source=self._source).output(self._pipeline) for report in (*taken, *raised)]
        show_measurements(reports)
        return measurements_written(reports, self._write)

    def show(self, actions: Actions, alarms: Alarms) -> None:
        """As metrics, after a commit or once the state is restored."""
        for (action, cause), count in actions.fresh().items():
            CORRECTIVE_ACTIONS.labels(action, cause).inc(count)
        for name in alarms.open:
            ALARMS_OPEN.labels(name, self._source).set(1)


def _line(report: Measurement) -> str:
    return f"{report.name} {report.reference}: {report.n}"
