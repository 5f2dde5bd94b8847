"""The score role: one partition of raw records and labels, its state in a changelog topic."""

from collections.abc import Callable, Mapping, Sequence

from stream_app.core.decode import NO_SCHEMAS, Schemas
from stream_app.core.records import Output, Record
from stream_app.core.score import Model, Scorer
from stream_app.core.state import NEVER
from stream_app.core.tallies import Tallies
from stream_app.errors import DataLossError
from stream_app.metrics import DEAD_LETTERS, RECORDS, STATE_ENTRIES, WATERMARK
from stream_app.streaming.processor import Input
from stream_app.streaming.reader import Reader
from stream_app.streaming.schemas import SchemaCache

COUNTED = ("scored", "duplicates", "joined", "label_duplicates", "label_expired", "expired")


class ScoreProcessor:
    """Drives a `Scorer` inside a partition task.

    `raw` is the full name of the raw topic, `state_topic` of the changelog; `model` gives the version to serve now,
    `cache` the schemas that Avro records name.
    """

    def __init__(
        self,
        scorer: Scorer,
        raw: str,
        state_topic: str,
        reader: Reader,
        model: Callable[[], Model],
        cache: SchemaCache,
    ) -> None:
        self._scorer = scorer
        self._raw = raw
        self._state_topic = state_topic
        self._reader = reader
        self._model = model
        self._cache = cache
        self._schemas: Schemas = NO_SCHEMAS
        self._shown = Tallies()
        for outcome in COUNTED:
            RECORDS.labels("score", raw, outcome)  # from 0 on, or none would look like no data

    def restore(self, committed: Mapping[Input, int]) -> Mapping[Input, int]:
        """State from the changelog; positions are in it too, in case the group's offsets have expired."""
        state = self._scorer.state
        state.restore(self._reader.read_all(self._state_topic, state.partition))
        self._shown = Tallies.from_dict(state.tallies.as_dict())
        self._show_state()
        lost = [source for source, offset in committed.items() if offset > 0 and source.topic not in state.positions]
        if lost:
            raise DataLossError(
                f"{self._state_topic}[{state.partition}] is empty although {lost[0].topic} has been processed",
                "Restore the state topic; without it duplicates are not recognised and labels find no prediction",
            )
        behind = [source for source, offset in committed.items() if -1 < state.positions.get(source.topic, -1) < offset]
        if behind:
            raise DataLossError(
                f"{self._state_topic}[{state.partition}] is older than what was committed of {behind[0].topic}",
                "Restore the state topic as it was; it and the offsets are written together",
            )
        return {source: max(offset, state.positions.get(source.topic, -1)) for source, offset in committed.items()}

    def ready(self, records: Sequence[Record]) -> int:
        """Those whose schemas are known."""
        count, self._schemas = self._cache.ready(records)
        return count

    def process(self, source: Input, records: Sequence[Record], now: int) -> list[Output]:
        """Score raw records, join labels."""
        work = self._scorer.score if source.topic == self._raw else self._scorer.join
        return work(records, self._model(), now, self._schemas)

    def idle(self, now: int) -> list[Output]:
        """With every input read to its end, the events' watermark alone is the time."""
        return self._scorer.expire(self._model(), now, labels_at_end=True)

    def before_commit(self, positions: Mapping[Input, int], now: int) -> list[Output]:
        """Tallies, watermarks and positions of this transaction."""
        self._scorer.state.positions = {source.topic: offset for source, offset in positions.items()}
        return [self._scorer.state.checkpoint()]

    def after_commit(self) -> None:
        """Show the committed tallies as metrics."""
        state, shown = self._scorer.state, self._shown
        for outcome in COUNTED:
            change = getattr(state.tallies, outcome) - getattr(shown, outcome)
            if change:
                RECORDS.labels("score", self._raw, outcome).inc(change)
        for codes, before, topic in (
            (state.tallies.dead, shown.dead, "raw"),
            (state.tallies.label_dead, shown.label_dead, "labels"),
        ):
            for code, count in (codes - before).items():
                DEAD_LETTERS.labels(topic, code).inc(count)
        self._shown = Tallies.from_dict(state.tallies.as_dict())
        self._show_state()

    def _show_state(self) -> None:
        state = self._scorer.state
        partition = str(state.partition)
        for status in ("pending", "waiting"):
            STATE_ENTRIES.labels(partition, status).set(getattr(state.tallies, status))
        STATE_ENTRIES.labels(partition, "known").set(len(state.entries))
        if state.clock != NEVER:
            WATERMARK.labels(partition).set(state.clock / 1000)
