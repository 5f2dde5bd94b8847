"""Records of the log that the learner passes over: noted in its state, so that every replay passes over them too."""

from collections.abc import Iterable, Iterator

from stream_app.core.evaluation.prediction_tasks import PredictionTask
from stream_app.core.example import Example
from stream_app.core.learning.examples_log import decode_example
from stream_app.records import Output, Record
from stream_app.worker.quarantine.record_guards import ExampleGuard

SKIP_KEY = b"skip/"  # then the offset


class SkippedOffsets:
    """Offsets with the code of why; `notices` are the records of state that say so, not written yet."""

    def __init__(self, guard: ExampleGuard | None) -> None:
        self._guard = guard
        self._codes: dict[int, str] = {}
        self.notices: list[Output] = []

    def restore(self, latest: Iterable[tuple[bytes | None, bytes | None]]) -> None:
        """From the newest value of each key of the state topic."""
        skips = {
            key.removeprefix(SKIP_KEY): code
            for key, code in latest
            if key and key.startswith(SKIP_KEY)
        }
        self._codes = {int(offset): code.decode() for offset, code in skips.items() if code}

    def __contains__(self, offset: int) -> bool:
        return offset in self._codes

    def noting(self, records: Iterable[Record]) -> Iterable[Record]:
        """The records, each told to whoever ends a learner that hangs, before it is learned."""
        return records if self._guard is None else self._guard.journaled(records)

    def committed(self, end: int) -> None:
        """What comes before this offset is done with."""
        if self._guard is not None:
            self._guard.committed(end)

    def note(self, offset: int, code: str) -> None:
        """Pass over this one from now on."""
        self._codes[offset] = code
        self.notices.append(Output("learn.state", 0, SKIP_KEY + b"%d" % offset, code.encode()))

    def code(self, record: Record) -> str | None:
        """Why to pass over a record, if so: it is noted, or it ends a learner."""
        code = self._codes.get(record.offset)
        if code is None and self._guard is not None:
            code = self._guard.poison_code(record.offset)
            if code is not None:
                self.note(record.offset, code)
        return code

    def examples(
        self, records: Iterable[Record], task: PredictionTask
    ) -> Iterator[tuple[int, Example]]:
        """The examples among them that are not passed over, each with its offset."""
        for record in self.noting(records):
            example = self.code(record) or decode_example(record.value, task)
            if isinstance(example, Example):
                yield record.offset, example
