"""The score role: one partition of raw records and labels, its state in a changelog topic."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from time import monotonic

from stream_app.core.reading.decoding import NO_SCHEMAS, Schemas
from stream_app.core.scoring.predictor import Model
from stream_app.core.scoring.scorer import DEGRADED_ALARM, Scorer
from stream_app.errors import DataLossError
from stream_app.kafka.reader import TopicReader
from stream_app.records import Failure, InputPartition, Output, Record
from stream_app.schema_registry.schema_cache import SchemaCache
from stream_app.worker.processor import BREAKER, REGISTRY, TRIAL
from stream_app.worker.quarantine.record_guard import RecordGuard
from stream_app.worker.roles.event_breaker import EventBreaker
from stream_app.worker.roles.exported_metrics import ExportedMetrics
from stream_app.worker.roles.last_good import LastGood
from stream_app.worker.roles.model_override import ModelOverrides
from stream_app.worker.roles.reporter import TaskReporter

POISON_ALARM = "poison-records"
REFUSED_ALARM = "model-refused"
QUIET = 10_000  # milliseconds without a fallback, after which that alarm ends
IDLE_RETRIES = 10  # at once while nothing comes in
IDLE_SECONDS = 0.25  # after which no other one of these is begun: a transaction of other partitions may be open

Work = Callable[[Sequence[Record]], list[Output]]


class ScoreProcessor:
    """Drives a `Scorer` inside a partition task.

    `raw` and `labels` are full names of topics, as `state_topic` is of the changelog; what comes from another one was a
    dead letter, for which `chosen` gives the model. `model` gives the version to serve now,
    `cache` the schemas that Avro records name, `reporter` tells of corrective actions and alarms, `guard`
    says which records must not be processed, `breaker` whether events are to be processed at all, `last_good` is told
    which versions serve well, `refused` gives what kind of failure keeps a version from being served.
    """

    def __init__(
        self,
        scorer: Scorer,
        raw: str,
        labels: str,
        state_topic: str,
        reader: TopicReader,
        model: Callable[[], Model],
        cache: SchemaCache,
        reporter: TaskReporter,
        guard: RecordGuard,
        chosen: ModelOverrides,
        breaker: EventBreaker,
        last_good: LastGood | None = None,
        refused: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._scorer = scorer
        self._raw = raw
        self._labels = labels
        self._chosen = chosen
        self._state_topic = state_topic
        self._reader = reader
        self._model = model
        self._cache = cache
        self._reporter = reporter
        self._guard = guard
        self._breaker = breaker
        self._last_good = last_good
        self._refused = refused
        self.holding = ""
        self._schemas: Schemas = NO_SCHEMAS
        self._shown = ExportedMetrics(raw)

    def restore(self, committed: Mapping[InputPartition, int]) -> Mapping[InputPartition, int]:
        """State from the changelog; positions are in it too, in case the group's offsets have expired."""
        state = self._scorer.state
        state.restore(self._reader.read_settled(self._state_topic, state.partition))
        self._reporter.show(state.actions, state.alarms)
        self._shown.start(state)
        lost = [
            source
            for source, offset in committed.items()
            if offset > 0 and source.topic not in state.positions
        ]
        if lost:
            raise DataLossError(
                f"{self._state_topic}[{state.partition}] is empty although {lost[0].topic} has been processed",
                "Restore the state topic; without it duplicates are not recognised and labels find no prediction",
            )
        behind = [
            source
            for source, offset in committed.items()
            if -1 < state.positions.get(source.topic, -1) < offset
        ]
        if behind:
            raise DataLossError(
                f"{self._state_topic}[{state.partition}] is older than what was committed of {behind[0].topic}",
                "Restore the state topic as it was; it and the offsets are written together",
            )
        if self._last_good is not None:
            self._last_good.restore()
        start = {
            source: max(offset, state.positions.get(source.topic, -1))
            for source, offset in committed.items()
        }
        self._guard.committed(
            {source.topic: offset for source, offset in start.items()}, state.retries.waiting
        )
        return start

    def ready(self, records: Sequence[Record], now: int) -> int:
        """Those that the breaker lets go, whose schemas are known, and that are not suspected of any harm."""
        allowed = (
            self._breaker.ready(len(records), now)
            if records[0].topic == self._raw
            else len(records)
        )
        known, self._schemas = self._cache.ready(records[:allowed]) if allowed else (0, NO_SCHEMAS)
        ready = self._guard.ready(records[:known])
        if ready == len(records):
            self.holding = ""
        else:
            self.holding = TRIAL if ready < known else REGISTRY if known < allowed else BREAKER
        return ready

    def process(self, source: InputPartition, records: Sequence[Record], now: int) -> list[Output]:
        """Score raw records, join labels, and try again what is due."""
        outputs = self._retry(now, len(records))
        if source.topic == self._raw:
            outputs += self._harmless(records, lambda part: self._score(part, now), now)
        elif source.topic == self._labels:
            outputs += self._harmless(records, lambda part: self._join(part, now), now)
        else:
            outputs += self._harmless(records, lambda part: self._replay(part, now), now)
        return outputs

    def _harmless(self, records: Sequence[Record], work: Work, now: int) -> list[Output]:
        """Work on the records; what would harm the process is a dead letter."""
        if not self._guard.vigilant:
            return work(records)
        outputs: list[Output] = []
        harmless: list[Record] = []
        for record in records:
            verdict = self._guard.verdict(record)
            if verdict is None:
                harmless.append(record)
            else:
                outputs += work(harmless) + self._isolate(record, verdict, now)
                harmless = []
        return outputs + work(harmless)

    def _score(self, records: Sequence[Record], now: int) -> list[Output]:
        scorer, model = self._scorer, self._model()
        before = scorer.state.tallies.scored
        outputs = scorer.score(self._guard.noting(self._raw, records), model, now, self._schemas)
        self._breaker.note(len(records), scorer.failed, now)
        if scorer.state.tallies.scored > before and not scorer.degraded:
            scorer.state.alarms.end(DEGRADED_ALARM, now, QUIET)
            if self._last_good is not None:
                self._last_good.worked(model)
        return outputs

    def _join(self, records: Sequence[Record], now: int) -> list[Output]:
        return self._scorer.join(
            self._guard.noting(self._labels, records), self._model(), now, self._schemas
        )

    def _replay(self, records: Sequence[Record], now: int) -> list[Output]:
        return self._by_model(
            records, lambda part, model: self._scorer.score(part, model, now, self._schemas)
        )

    def _by_model(
        self, records: Sequence[Record], work: Callable[[Iterator[Record], Model], list[Output]]
    ) -> list[Output]:
        """Work on the records of one topic; their models are loaded before the first is noted, for that takes long."""
        parts = [(model, list(part)) for model, part in groupby(records, self._chosen.model)]
        return [
            one
            for model, part in parts
            for one in work(self._guard.noting(part[0].topic, part), model)
        ]

    def _retry(self, now: int, most: int) -> list[Output]:
        """Try again at most so many of those that are due."""
        due = self._scorer.state.retries.due(now, most)
        by_topic = groupby(sorted(due, key=_topic), _topic) if due else ()
        return [one for _, records in by_topic for one in self._retry_ready(list(records), now)]

    def _retry_some(self, now: int) -> list[Output]:
        """Try again a few of those that are due, one by one, for each may take long."""
        outputs: list[Output] = []
        until = monotonic() + IDLE_SECONDS
        for _ in range(IDLE_RETRIES):
            tried = self._retry(now, 1)
            outputs += tried
            if not tried or monotonic() > until:
                break
        return outputs

    def _retry_ready(self, records: Sequence[Record], now: int) -> list[Output]:
        """Try again those, of one topic, that can be tried now."""
        known = [record for record in records if self._cache.ready([record]).number]
        ready = known[: self._guard.ready(known)]
        offsets = {record.offset for record in ready}
        self._scorer.state.retries.postpone(
            [record for record in records if record.offset not in offsets], now
        )
        schemas = self._cache.ready(ready).schemas

        def work(part: Sequence[Record]) -> list[Output]:
            return self._by_model(
                part, lambda some, model: self._scorer.retry(some, model, now, schemas)
            )

        return self._harmless(ready, work, now)

    def _isolate(self, record: Record, failure: Failure, now: int) -> list[Output]:
        state = self._scorer.state
        state.actions.note("isolate", failure.code, now)
        state.alarms.raise_(POISON_ALARM, failure.code, now)
        return self._scorer.reject(
            record, failure, self._model(), now, label=record.topic == self._labels
        )

    def idle(self, now: int, at_end: bool) -> list[Output]:
        """Try again what is due; with every input read to its end, the events' watermark alone is the time."""
        outputs = self._retry_some(now)
        if at_end:
            self._breaker.rest(now)
            outputs += self._scorer.expire(self._model(), now, labels_at_end=True)
        return outputs + self._report(now)

    def before_commit(self, positions: Mapping[InputPartition, int], now: int) -> list[Output]:
        """What is to be reported; tallies, watermarks and positions of this transaction."""
        self._scorer.state.positions = {
            source.topic: offset for source, offset in positions.items()
        }
        reports = self._report(now)
        return [*reports, self._scorer.state.checkpoint()]

    def _report(self, now: int) -> list[Output]:
        state = self._scorer.state
        if not self._guard.suspicious:
            state.alarms.end(POISON_ALARM, now)
        refused = self._refused()
        if refused is None:
            state.alarms.end(REFUSED_ALARM, now)
        elif REFUSED_ALARM not in state.alarms.open:
            state.alarms.raise_(REFUSED_ALARM, refused, now)
        return self._reporter.due(state.actions, state.alarms, now)

    def after_commit(self) -> None:
        """Show what was committed as metrics."""
        state = self._scorer.state
        self._guard.committed(state.positions, state.retries.waiting)
        self._reporter.show(state.actions, state.alarms)
        self._shown.update(state)


def _topic(record: Record) -> str:
    return record.topic
