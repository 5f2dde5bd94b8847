"""When and why a worker could not go on: said while it lasts, and told to `<pipeline>.monitoring` once it is over.

While Kafka takes nothing, nothing can be written about it either; then there are the log, `/readyz` and a metric.
"""

from threading import Lock
from time import monotonic, time
from typing import NamedTuple

from stream_app.errors import FencedError, StreamAppError, TopicsError
from stream_app.telemetry.logs import get_logger
from stream_app.telemetry.metrics import PAUSED

log = get_logger(__name__)

PATIENCE = 2.0  # seconds that a trouble may last before it is worth a word, and that it has to be gone to be over
REPEAT = 30.0  # seconds between two lines about a pause that lasts
LEASE = (
    10.0  # seconds after which whoever wanted to tell of a pause, and has not, is taken for dead
)

UNAVAILABLE = "kafka-unavailable"
CAUSES = {TopicsError: "topic-missing", FencedError: "fenced"}


class Blocker(NamedTuple):
    """Why something cannot go on, and since when (monotonic)."""

    cause: str
    why: str
    since: float

    @classmethod
    def of(cls, error: StreamAppError, since: float) -> "Blocker":
        """The trouble that an error tells of."""
        return cls(CAUSES.get(type(error), UNAVAILABLE), str(error), since)


class Outage(NamedTuple):
    """A pause that is over; epoch milliseconds."""

    cause: str
    since: int
    until: int


class OutageTracker:
    """The pauses of one worker; `observe` is to be called every second or so, by one thread."""

    def __init__(self) -> None:
        self._trouble: Blocker | None = None
        self._calm: float | None = None  # since when the trouble has been gone
        self._said = 0.0
        self._over: list[Outage] = []
        self._claimed = -LEASE
        self._lock = Lock()
        for cause in (UNAVAILABLE, *CAUSES.values()):
            PAUSED.labels(cause).set(0)

    def unready(self) -> list[str]:
        """Why the worker does not go on, if it is so (any thread)."""
        trouble = self._trouble
        return [] if trouble is None else [f"paused: {trouble.why}"]

    def observe(self, trouble: Blocker | None, settled: bool = True) -> None:
        """What troubles the worker now; a pause is over only once it has also `settled`."""
        now = monotonic()
        if trouble is not None:
            self._calm = None
            self._last(trouble, now)
        elif self._trouble is not None and settled:
            self._calm = self._calm or now
            if now - self._calm >= PATIENCE:
                self._end(self._trouble, self._calm)

    def end(self) -> None:
        """What there was is over for certain."""
        if self._trouble is not None:
            self._end(self._trouble, monotonic())

    def claim(self) -> list[Outage]:
        """The pauses that are to be told; for a while only the first who asks gets them (any thread)."""
        with self._lock:
            if not self._over or monotonic() < self._claimed + LEASE:
                return []
            self._claimed = monotonic()
            return list(self._over)

    def told(self, pauses: list[Outage]) -> None:
        """These have been told (any thread)."""
        with self._lock:
            self._over = [pause for pause in self._over if pause not in pauses]
            self._claimed = -LEASE

    def _last(self, trouble: Blocker, now: float) -> None:
        """A trouble lasts; what is found out later tells more about its cause."""
        before = self._trouble
        if before is None and now - trouble.since < PATIENCE:
            return
        since = trouble.since if before is None else before.since
        self._trouble = trouble._replace(since=since)
        if before is None or before.cause != trouble.cause or now - self._said >= REPEAT:
            self._said = now
            log.warning(
                "paused", cause=trouble.cause, why=trouble.why, seconds=round(now - since, 1)
            )
            if before is not None:
                PAUSED.labels(before.cause).set(0)
            PAUSED.labels(trouble.cause).set(1)

    def _end(self, trouble: Blocker, end: float) -> None:
        PAUSED.labels(trouble.cause).set(0)
        log.info("goes on", cause=trouble.cause, paused_seconds=round(end - trouble.since, 1))
        self._trouble = None
        with self._lock:
            self._over.append(Outage(trouble.cause, _epoch(trouble.since), _epoch(end)))


def _epoch(moment: float) -> int:
    return int((time() - (monotonic() - moment)) * 1000)
