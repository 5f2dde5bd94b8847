"""Pauses of learning that the monitor decides: an alarm says that the labels of a source are wrong.

They are written in the transaction of the alarm, as `learning pause --source` writes them.
"""

from collections.abc import Iterable

from stream_app.core.alarms.alarm_record import WRONG_LABELS, AlarmRecord, decode_alarm
from stream_app.core.alarms.label_sources import SHARED
from stream_app.core.learning.control_commands import MONITOR, Control
from stream_app.formatting import iso_time
from stream_app.model_store.model_registry import learning_records
from stream_app.pipeline import Pipeline
from stream_app.records import Output
from stream_app.telemetry.logs import get_logger

log = get_logger(__name__)


class SourcePauses:
    """Pauses the source of labels that an alarm is about, once for each alarm.

    A source that is paused already is paused again: the learner ignores that, and the annotation
    and the audit name the alarm.

    Args:
        pipeline: loaded pipeline; without `Alarms(action="pause")` nothing is paused.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._name = pipeline.name
        self._sources: frozenset[str] = frozenset()
        self._known: frozenset[str] = frozenset()
        if pipeline.alarms is not None and pipeline.alarms.action == "pause":
            names = {source.source_name for source in pipeline.label.sources}
            # The alarm of the shared detector is not about one source.
            self._sources = frozenset(names - {SHARED})

    def restore(self, known: Iterable[str]) -> None:
        """Note the ids of the alarms on `<p>.alarms`, which pause nothing any more.

        A monitor that has lost its state raises them again, perhaps after somebody has resumed the
        source.
        """
        self._known = frozenset(known)

    def outputs(self, outputs: Iterable[Output], now: int) -> list[Output]:
        """Return the records that pause the sources of the alarms that open among the outputs.

        Args:
            outputs: what the monitor writes.
            now: wall-clock time in Unix milliseconds.
        """
        if not self._sources:
            return []
        alarms = (decode_alarm(one.value) for one in outputs if one.topic == "alarms")
        return [
            record
            for alarm in alarms
            if alarm is not None and self._pauses(alarm)
            for record in self._pause(alarm, now)
        ]

    def _pauses(self, alarm: AlarmRecord) -> bool:
        is_opened = alarm.is_open and alarm.n == 1
        is_wrong = alarm.name in WRONG_LABELS and alarm.source in self._sources
        return is_opened and is_wrong and alarm.id not in self._known

    def _pause(self, alarm: AlarmRecord, now: int) -> list[Output]:
        why = f"alarm {alarm.id}: {alarm.cause} since {iso_time(alarm.since)[:16]}Z"
        log.warning("learning from a source is paused", source=alarm.source, why=why)
        control = Control("pause", None, 0, iso_time(now), MONITOR, why, source=alarm.source)
        return [control.output(), *learning_records(self._name, control, now)]
