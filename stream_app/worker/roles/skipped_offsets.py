"""Records of the examples log that the learner skips; kept in its state for every replay."""

from collections.abc import Iterable, Iterator

from stream_app.core.evaluation.prediction_tasks import PredictionTask
from stream_app.core.published_records import Example, decode_example
from stream_app.records import Output, Record
from stream_app.worker.quarantine.quarantine import ExampleGuard

# Prefix of a key of the state topic, before the offset.
SKIP_PREFIX = b"skip/"


class SkippedOffsets:
    """Skipped offsets with the error code of each.

    Args:
        guard: detects examples that crash the learner; None for a learner without quarantine.

    Attributes:
        unwritten: records of the state topic that are not written yet.
    """

    def __init__(self, guard: ExampleGuard | None) -> None:
        self._guard = guard
        self._codes: dict[int, str] = {}
        self.unwritten: list[Output] = []

    def restore(self, latest: Iterable[tuple[bytes | None, bytes | None]]) -> None:
        """Load from the newest value of each key of the state topic."""
        self._codes = {
            int(key.removeprefix(SKIP_PREFIX)): code.decode()
            for key, code in latest
            if key and key.startswith(SKIP_PREFIX) and code
        }

    def __contains__(self, offset: int) -> bool:
        return offset in self._codes

    def journaled(self, records: Iterable[Record]) -> Iterable[Record]:
        """Return the records, each written to the journal before it is learned."""
        return records if self._guard is None else self._guard.journaled(records)

    def committed(self, end: int) -> None:
        """Forget quarantine candidates before an offset: they were learned or skipped."""
        if self._guard is not None:
            self._guard.committed(end)

    def skip(self, offset: int, code: str) -> None:
        """Skip an offset from now on."""
        self._codes[offset] = code
        self.unwritten.append(Output("learn.state", 0, SKIP_PREFIX + b"%d" % offset, code.encode()))

    def code(self, record: Record) -> str | None:
        """Return the error code of a record to skip, else None.

        Skips it from now on if it has crashed learners.
        """
        code = self._codes.get(record.offset)
        if code is None and self._guard is not None:
            code = self._guard.poison_code(record.offset)
            if code is not None:
                self.skip(record.offset, code)
        return code

    def examples(
        self, records: Iterable[Record], task: PredictionTask
    ) -> Iterator[tuple[int, Example]]:
        """Yield the examples that are not skipped, each with its offset."""
        for record in self.journaled(records):
            example = self.code(record) or decode_example(record.value, task)
            if isinstance(example, Example):
                yield record.offset, example
