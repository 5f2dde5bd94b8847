"""Decisions in the log, as the learner comes to them: what they need is prepared while no transaction waits for it."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from time import monotonic

from stream_app.core.control import CONTROL_KEY, LEARNER, SWITCHES, Control, decode_control
from stream_app.core.example import Example
from stream_app.core.learned import Learned
from stream_app.core.obey import first_again, learn_again
from stream_app.core.records import Output, Record
from stream_app.errors import StoreError
from stream_app.management.decisions import Reason, held, switched
from stream_app.streaming.roles.versions import Versions

MOMENT = 0.2  # seconds of work between two looks at what else there is to do
WAIT_SECONDS = 2.0  # between two looks at a store that is away
_CHUNK = 100  # examples, between two looks at the clock

Examples = Callable[[Iterable[Record]], Iterator[tuple[int, Example]]]


def control_in(record: Record) -> Control | None:
    """The decision that a record of the log is, if it is one."""
    return decode_control(record.value) if record.key == CONTROL_KEY else None


class Preparation:
    """What the decision that comes next has the learner go on from: loaded, and made to learn again, bit by bit.

    `start_of` loads it, or raises ModelError, or StoreError while the store is away. `records` are those of the log
    between two offsets, `examples` what is to be learned of them.
    """

    def __init__(
        self,
        start_of: Callable[[Control], Learned],
        records: Callable[[int, int], Iterable[Record]],
        examples: Examples,
        fingerprint: str,
    ) -> None:
        self._start_of = start_of
        self._records = records
        self._examples = examples
        self._fingerprint = fingerprint
        self._offset = -1
        self._again_at = 0.0

    def step(self, offset: int, control: Control) -> Learned | None:
        """Work for a moment; None as long as it is not enough."""
        if monotonic() < self._again_at:
            return None
        try:
            self._begin(offset, control)
        except StoreError:
            self._again_at = monotonic() + WAIT_SECONDS
            raise
        until = monotonic() + MOMENT
        for _ in self._work:
            if monotonic() > until:
                return None
        return self._start

    def finish(self, offset: int, control: Control) -> Learned:
        """Work to the end."""
        self._begin(offset, control)
        for _ in self._work:
            pass
        return self._start

    def _begin(self, offset: int, control: Control) -> None:
        if self._offset != offset:
            self._start = self._start_of(control)
            self._work = self._learning_again(self._start, first_again(self._start, control, offset), offset)
            self._offset = offset

    def _learning_again(self, start: Learned, first: int, end: int) -> Iterator[None]:
        records = iter(self._records(first, end)) if first < end else iter(())
        while chunk := list(islice(records, _CHUNK)):
            learn_again(start, self._fingerprint, self._examples(chunk))
            yield


def obeyed(pipeline: str, control: Control, versions: Versions, now: int) -> list[Output]:
    """What is written about a decision that has just been obeyed.

    Whoever else decides has written mark and audit already; the learner does so when it reads its own decision.
    """
    before, reason = versions.champion, Reason(LEARNER, now, control.why)
    own = control.who == LEARNER
    if control.act in SWITCHES and control.version is not None:
        audit = [switched(pipeline, control, reason, before)] if own else []
        return versions.choose(control.version, control.epoch) + audit
    if control.act == "hold" and own:
        return held(pipeline, reason)
    if control.act == "pin" and control.version is not None:
        return versions.keep(control.version)
    if control.act == "unpin" and control.version is not None:
        versions.let_go(control.version)
    return []
