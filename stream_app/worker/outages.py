"""Outages of a worker: logged while they last, published to `<p>.monitoring` once they end.

During a Kafka outage nothing can be published, so the log, `/readyz` and a metric report it.
"""

from threading import Lock
from time import monotonic, time
from typing import NamedTuple

from stream_app.errors import FencedError, StreamAppError, TopicsError
from stream_app.telemetry.logs import get_logger
from stream_app.telemetry.metrics import OUTAGE

log = get_logger(__name__)

# A blocker is reported after this time, and an outage ends once it has been gone this long.
GRACE_SECONDS = 2.0
LOG_INTERVAL_SECONDS = 30.0
# A subtask that claimed an outage for publishing and did not within this time is considered dead.
CLAIM_SECONDS = 10.0

UNAVAILABLE = "kafka-unavailable"
CAUSES = {TopicsError: "topic-missing", FencedError: "fenced"}


class Blocker(NamedTuple):
    """Reason why a worker waits, with its start in monotonic seconds."""

    cause: str
    why: str
    since: float

    @classmethod
    def of(cls, error: StreamAppError, since: float) -> "Blocker":
        """Return the blocker that an error reports."""
        return cls(CAUSES.get(type(error), UNAVAILABLE), str(error), since)


class Outage(NamedTuple):
    """Finished outage; times in Unix milliseconds."""

    cause: str
    since: int
    until: int


class OutageTracker:
    """Outages of one worker; one thread calls `update` about every second."""

    def __init__(self) -> None:
        self._blocker: Blocker | None = None
        # Start of the time without blocker, in monotonic seconds.
        self._clear_since: float | None = None
        self._logged_at = 0.0
        self._finished: list[Outage] = []
        self._claimed_at = -CLAIM_SECONDS
        self._lock = Lock()
        for cause in (UNAVAILABLE, *CAUSES.values()):
            OUTAGE.labels(cause).set(0)

    def blockers(self) -> list[str]:
        """Return the reasons why the worker is not ready, empty if it is. Thread-safe."""
        blocker = self._blocker
        return [] if blocker is None else [f"outage: {blocker.why}"]

    def update(self, blocker: Blocker | None, stable: bool = True) -> None:
        """Record the present blocker, or None.

        Args:
            stable: an outage ends only once the worker is also stable.
        """
        now = monotonic()
        if blocker is not None:
            self._clear_since = None
            self._continue(blocker, now)
        elif self._blocker is not None and stable:
            self._clear_since = self._clear_since or now
            if now - self._clear_since >= GRACE_SECONDS:
                self._end(self._blocker, self._clear_since)

    def end(self) -> None:
        """End the present outage, if any, without the grace period."""
        if self._blocker is not None:
            self._end(self._blocker, monotonic())

    def claim(self) -> list[Outage]:
        """Return the finished outages to the first subtask that asks. Thread-safe.

        Others get none until the outages are reported or the claim expires.
        """
        with self._lock:
            if not self._finished or monotonic() < self._claimed_at + CLAIM_SECONDS:
                return []
            self._claimed_at = monotonic()
            return list(self._finished)

    def mark_reported(self, outages: list[Outage]) -> None:
        """Forget outages whose publishing is committed. Thread-safe."""
        with self._lock:
            self._finished = [outage for outage in self._finished if outage not in outages]
            self._claimed_at = -CLAIM_SECONDS

    def _continue(self, blocker: Blocker, now: float) -> None:
        """Start or continue an outage; the newest blocker gives its cause."""
        before = self._blocker
        if before is None and now - blocker.since < GRACE_SECONDS:
            return
        since = blocker.since if before is None else before.since
        self._blocker = blocker._replace(since=since)
        if (
            before is None
            or before.cause != blocker.cause
            or now - self._logged_at >= LOG_INTERVAL_SECONDS
        ):
            self._logged_at = now
            log.warning(
                "outage", cause=blocker.cause, why=blocker.why, seconds=round(now - since, 1)
            )
            if before is not None:
                OUTAGE.labels(before.cause).set(0)
            OUTAGE.labels(blocker.cause).set(1)

    def _end(self, blocker: Blocker, end: float) -> None:
        OUTAGE.labels(blocker.cause).set(0)
        seconds = round(end - blocker.since, 1)
        log.info("outage ended", cause=blocker.cause, outage_seconds=seconds)
        self._blocker = None
        outage = Outage(blocker.cause, _unix_milliseconds(blocker.since), _unix_milliseconds(end))
        with self._lock:
            self._finished.append(outage)


def _unix_milliseconds(moment: float) -> int:
    return int((time() - (monotonic() - moment)) * 1000)
