"""Claims to process records, in the metadata of committed offsets: a journal kept in Kafka.

The journal of a worker is lost when its data folder is, for instance with a container on a
temporary file system. A worker that found no journal therefore commits a *claim* with the
offset of an input before it processes the first records from there. The next commit that advances
the offset removes it. If the worker dies before that, its successor, on any machine, finds the
claim and isolates the record in steps:

1. A claim without an end: a worker died somewhere behind the offset. Every record gets a trial
   run, and is committed alone, or later with few others, after a claim that names them.
2. A claim of several records: the same, one record at a time.
3. A claim of one record: exactly this record was being processed. It becomes a quarantine
   candidate with as many crashes as workers died on it.

After these first records, and in workers that keep their journal, nothing is written.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace

import orjson

from stream_app.records import InputPartition, Record
from stream_app.worker.quarantine.quarantine import Quarantine

# End of a claim that does not say which records follow its first one.
OPEN = -1
# Records behind a claim without an end that are committed alone.
SINGLE_RECORDS = 64
# Largest number of records that a transaction may hold beside those of `commit_records`.
MARGIN = 10_000


@dataclass(frozen=True, slots=True)
class Claim:
    """Records that a worker began to process.

    Attributes:
        process: random id of the process.
        start: offset of the first record.
        end: offset after the last one, or OPEN.
        count: number of workers that began exactly this record, this one included.
    """

    process: str
    start: int
    end: int
    count: int = 1

    @property
    def is_single(self) -> bool:
        """True for a claim of one record."""
        return self.end == self.start + 1

    def encode(self) -> str:
        """Return the metadata of the committed offset."""
        return orjson.dumps([self.process, self.start, self.end, self.count]).decode()


def decode_claim(metadata: str | None) -> Claim | None:
    """Return the claim in the metadata of a committed offset, None if there is none."""
    try:
        process, start, end, count = orjson.loads(metadata or "")
    except (ValueError, TypeError):
        return None
    numbers = all(isinstance(number, int) for number in (start, end, count))
    return Claim(str(process), start, end, count) if numbers else None


class InputClaims:
    """Claims to process the first records of an input after an assignment.

    Args:
        process: id of this process.
        found: claim of a process that died, None if there is none.
        window: number of records that a transaction may hold.

    Attributes:
        isolates: True if each claim is committed with its records alone.
    """

    def __init__(self, process: str, found: Claim | None, window: int) -> None:
        self._process = process
        self._found = found
        self.isolates = found is not None
        self._single_until = self._until = 0
        if found is not None:
            is_open = found.end == OPEN
            self._until = found.start + window if is_open else found.end
            self._single_until = found.start + SINGLE_RECORDS if is_open else found.end

    def limit(self, first: int, count: int) -> int:
        """Return how many of `count` records, from offset `first` on, to process at once."""
        return 1 if first < self._single_until else count

    def begin(self, records: Sequence[Record]) -> str:
        """Return the metadata to commit before records are processed."""
        start, end = records[0].offset, records[-1].offset + 1
        if not self.isolates:
            return Claim(self._process, start, OPEN).encode()
        claim, found = Claim(self._process, start, end), self._found
        if found is not None and found.is_single and (found.start, found.end) == (start, end):
            claim = replace(claim, count=found.count + 1)
        return claim.encode()

    def is_over(self, end: int) -> bool:
        """Return True if no claim is needed from offset `end` on."""
        return end >= self._until


class ClaimJournal:
    """Claims of one worker.

    Args:
        quarantine: quarantine of the worker, which takes the candidates.
        inputs: full names of the input topics in the order of the role; none for a role without
            quarantine.
        commit_records: largest number of records in a transaction.
    """

    def __init__(self, quarantine: Quarantine, inputs: Sequence[str], commit_records: int) -> None:
        self._quarantine = quarantine
        self._numbers = {topic: number for number, topic in enumerate(inputs)}
        self._window = commit_records + MARGIN
        self._process = secrets.token_hex(6)

    def resume(
        self, source: InputPartition, metadata: str | None, partition: int
    ) -> InputClaims | None:
        """Return the claims of an input that is assigned, None if it needs none.

        Args:
            metadata: metadata of its committed offset.
            partition: partition of the input in the journal of the role.
        """
        number = self._numbers.get(source.topic)
        if number is None:
            return None
        found = decode_claim(metadata)
        if found is not None and found.process == self._process:
            # An earlier task of this process, which has not died.
            found = None if found.end == OPEN else replace(found, count=found.count - 1)
        if found is not None and found.count > 0:
            crashes = found.count if found.is_single else None
            self._quarantine.resume_claim(source.topic, (number, partition, found.start), crashes)
        if found is None and not self._quarantine.lost_journal:
            return None
        return InputClaims(self._process, found, self._window)
