"""What a task did about faults and what alarms it: to `<pipeline>.monitoring`, to the log and as metrics."""

from stream_app.core.measurement import Measurement
from stream_app.core.monitoring.alarms import Alarms
from stream_app.core.monitoring.corrective_actions import CorrectiveActions
from stream_app.records import Output
from stream_app.telemetry.logs import get_logger
from stream_app.telemetry.metrics import ALARMS_OPEN, CORRECTIVE_ACTIONS
from stream_app.worker.roles.measurement_metrics import show_measurements
from stream_app.worker.roles.output_encoders import Write, measurements_written

log = get_logger(__name__)


class TaskReporter:
    """Reports for one `source`: a worker, such as score-0, or a partition's task, such as score[3]."""

    def __init__(self, pipeline: str, source: str, write: Write) -> None:
        self._pipeline = pipeline
        self._source = source
        self._write = write

    def due(self, actions: CorrectiveActions, alarms: Alarms, now: int) -> list[Output]:
        """The records that are due; they belong into the transaction of what they tell of."""
        taken, raised = actions.due(now), alarms.due(now)
        if taken:
            log.info(
                "corrective actions", source=self._source, taken=[_line(report) for report in taken]
            )
        reports = [
            report._replace(source=self._source).output(self._pipeline)
            for report in (*taken, *raised)
        ]
        show_measurements(reports)
        return measurements_written(reports, self._write)

    def show(self, actions: CorrectiveActions, alarms: Alarms) -> None:
        """As metrics, after a commit or once the state is restored."""
        for (action, cause), count in actions.fresh().items():
            CORRECTIVE_ACTIONS.labels(action, cause).inc(count)
        for name in alarms.open:
            ALARMS_OPEN.labels(name, self._source).set(1)


def _line(report: Measurement) -> str:
    return f"{report.name} {report.reference}: {report.n}"
