"""What isolation means for one partition: which records may be processed, and which must not."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from stream_app.records import Failure, Record
from stream_app.worker.quarantine.quarantine import Quarantine
from stream_app.worker.quarantine.trial_runs import TrialCase, Verdicts


class RecordGuard:
    """Stands before a partition's processor; `inputs` are the full names of its topics, the raw one first.

    Used by the partition's thread.
    """

    def __init__(self, isolation: Quarantine, partition: int, inputs: Sequence[str]) -> None:
        self._isolation = isolation
        self._partition = partition
        self._numbers = {topic: number for number, topic in enumerate(inputs)}
        self._slot = isolation.journal.slot(partition)
        self._verdicts: dict[tuple[str, int], Failure | None] = {}
        self._asked = False

    def noting(self, topic: str, records: Iterable[Record]) -> Iterator[Record]:
        """The records, each noted in the journal before it is worked on."""
        return self._slot.noting(self._numbers[topic], records)

    def ready(self, records: Sequence[Record]) -> int:
        """How many of these records, from the first, need no trial or have had it; the others are then tried."""
        suspicion = self._isolation.suspicion
        if not suspicion:
            return len(records)
        general = suspicion.general
        for index, record in enumerate(records):
            suspected = general or suspicion.of(
                self._numbers[record.topic], self._partition, record.offset
            )
            if suspected and (record.topic, record.offset) not in self._verdicts:
                self._ask(records[index:] if general else [record])
                return index
        return len(records)

    def verdict(self, record: Record) -> Failure | None:
        """Why this record must not be processed; asked once, right before it would be."""
        if not self._verdicts:
            return None
        return self._verdicts.pop((record.topic, record.offset), None)

    @property
    def suspicious(self) -> bool:
        """Whether a record was convicted lately, so that every one is suspected."""
        return self._isolation.suspicion.general

    @property
    def vigilant(self) -> bool:
        """Whether there are verdicts to ask for."""
        return bool(self._verdicts)

    def committed(self, positions: Mapping[str, int], waiting: Iterable[str] = ()) -> None:
        """What comes before these offsets, by topic, has its outcome, unless it is `waiting` to be tried again."""
        if self._isolation.suspicion:
            for topic, end in positions.items():
                waits = {
                    int(offset)
                    for one, _, offset in (name.rpartition("/") for name in waiting)
                    if one == topic
                }
                self._isolation.suspicion.settle(
                    self._numbers[topic], self._partition, end, waits.__contains__
                )

    def _ask(self, records: Sequence[Record]) -> None:
        """Have the records tried, unless others are at present."""
        if self._asked:
            return
        self._asked = True
        chosen = list(records)
        topic = chosen[0].topic
        number = self._numbers[topic]

        def done(verdicts: Verdicts) -> None:
            for record, found in zip(chosen, verdicts, strict=True):
                verdict = self._isolation.decide(number, record, found)
                self._verdicts[topic, record.offset] = verdict
            self._asked = False

        self._isolation.try_records(TrialCase(chosen, number == 1, done))
