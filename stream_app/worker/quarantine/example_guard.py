"""What isolation means for the learner: an example that ended it twice is not learned any more."""

from collections.abc import Iterable, Iterator

from stream_app.records import Record
from stream_app.telemetry.logs import get_logger
from stream_app.worker.quarantine.quarantine import CODES, Quarantine

log = get_logger(__name__)

FATAL_DEATHS = (
    2  # of learners on one example; to try it elsewhere would take the model as it was before
)


class ExampleGuard:
    """Stands before the learner; used by its thread."""

    def __init__(self, isolation: Quarantine) -> None:
        self._suspicion = isolation.suspicion
        self._slot = isolation.journal.slot(0)

    def noting(self, examples: Iterable[Record]) -> Iterator[Record]:
        """The examples, each noted in the journal before it is learned."""
        return self._slot.noting(0, examples)

    def verdict(self, offset: int) -> str | None:
        """The code of what the example does to a learner, if that is proven."""
        suspect = self._suspicion.of(0, 0, offset)
        if suspect is None or suspect.deaths < FATAL_DEATHS:
            return None
        code = CODES[suspect.reason]
        log.warning("an example is isolated", offset=offset, code=code)
        return code

    def committed(self, end: int) -> None:
        """What comes before this offset has been learned, or is known not to be."""
        if self._suspicion:
            self._suspicion.settle(0, 0, end)
