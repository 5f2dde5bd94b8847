"""Check of every record or example before it is processed."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from stream_app.records import Failure, Record
from stream_app.telemetry.logs import get_logger
from stream_app.worker.quarantine.journal import CODES
from stream_app.worker.quarantine.quarantine import Quarantine
from stream_app.worker.quarantine.trial_runs import TrialCase, TrialResults

log = get_logger(__name__)

# An example is poison after this number of crashes. It gets no trial run, because that would need
# the model as it was before the example.
MAX_EXAMPLE_CRASHES = 2


class RecordGuard:
    """Guard of one partition of a scorer; used by the partition's thread.

    Args:
        inputs: full names of the input topics in the order raw, labels, raw.replay.
    """

    def __init__(self, quarantine: Quarantine, partition: int, inputs: Sequence[str]) -> None:
        self._quarantine = quarantine
        self._partition = partition
        self._numbers = {topic: number for number, topic in enumerate(inputs)}
        self._slot = quarantine.journal.slot(partition)
        self._results: dict[tuple[str, int], Failure | None] = {}
        self._running = False

    def journaled(self, topic: str, records: Iterable[Record]) -> Iterator[Record]:
        """Yield the records, each written to the journal before it is processed."""
        return self._slot.journaled(self._numbers[topic], records)

    def ready(self, records: Sequence[Record]) -> int:
        """Return the number of records, counted from the first, that need no trial run any more.

        Starts a trial run of the others.
        """
        candidates = self._quarantine.candidates
        if not candidates:
            return len(records)
        everything = candidates.includes_all
        for index, record in enumerate(records):
            is_candidate = everything or candidates.get(
                self._numbers[record.topic], self._partition, record.offset
            )
            if is_candidate and (record.topic, record.offset) not in self._results:
                self._start_trial(records[index:] if everything else [record])
                return index
        return len(records)

    def take_result(self, record: Record) -> Failure | None:
        """Return the failure of a poison record, else None; called once, before processing."""
        if not self._results:
            return None
        return self._results.pop((record.topic, record.offset), None)

    @property
    def checks_all(self) -> bool:
        """True if every record gets a trial run, because a poison record was found recently."""
        return self._quarantine.candidates.includes_all

    @property
    def has_results(self) -> bool:
        """True if trial runs have results that nobody has taken."""
        return bool(self._results)

    def committed(self, positions: Mapping[str, int], waiting: Iterable[str] = ()) -> None:
        """Remove candidates whose outcome is committed.

        Args:
            positions: next offset by topic.
            waiting: `topic/partition/offset` of records that wait for a retry.
        """
        if self._quarantine.candidates:
            for topic, end in positions.items():
                waits = {
                    int(offset)
                    for one, _, offset in (name.rpartition("/") for name in waiting)
                    if one == topic
                }
                self._quarantine.candidates.remove_before(
                    self._numbers[topic], self._partition, end, waits.__contains__
                )

    def _start_trial(self, records: Sequence[Record]) -> None:
        """Start a trial run unless one is running."""
        if self._running:
            return
        self._running = True
        chosen = list(records)
        topic = chosen[0].topic
        number = self._numbers[topic]

        def done(results: TrialResults) -> None:
            for record, found in zip(chosen, results, strict=True):
                result = self._quarantine.conclude(number, record, found)
                self._results[topic, record.offset] = result
            self._running = False

        self._quarantine.submit(TrialCase(chosen, number == 1, done))


class ExampleGuard:
    """Guard of a learner: skips an example that crashed it repeatedly; used by its thread."""

    def __init__(self, quarantine: Quarantine) -> None:
        self._candidates = quarantine.candidates
        self._slot = quarantine.journal.slot(0)

    def journaled(self, examples: Iterable[Record]) -> Iterator[Record]:
        """Yield the examples, each written to the journal before it is learned."""
        return self._slot.journaled(0, examples)

    def poison_code(self, offset: int) -> str | None:
        """Return the error code of a poison example, else None."""
        candidate = self._candidates.get(0, 0, offset)
        if candidate is None or candidate.crashes < MAX_EXAMPLE_CRASHES:
            return None
        code = CODES[candidate.reason]
        log.warning("example quarantined", offset=offset, code=code)
        return code

    def committed(self, end: int) -> None:
        """Remove candidates before an offset: they were learned or skipped."""
        if self._candidates:
            self._candidates.remove_before(0, 0, end)
