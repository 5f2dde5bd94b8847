"""When what takes long is due, so that it takes only a share of the time."""

RETRY_MILLISECONDS = 5000  # after what failed


class DutyCycle:
    """When something costly is due: after `seconds` or `count` changes, but never more than `share` of the time.

    Times are epoch milliseconds; a clock that is set back starts the interval again.
    """

    def __init__(self, seconds: float, count: float, share: float) -> None:
        self._interval = seconds * 1000
        self._count = count
        self._share = share
        self._last = -1
        self._rest = 0.0
        self._failed = False

    def due(self, changes: int, now: int) -> bool:
        """Is it, after so many changes since the last time?"""
        if self._last < 0 or now < self._last:
            self._last = now
        elapsed = now - self._last
        wanted = self._failed or changes >= self._count or elapsed >= self._interval
        return changes > 0 and elapsed >= self._rest and wanted

    def rests(self, now: int) -> bool:
        """Must it not be done yet, however much has changed?"""
        return self._last <= now < self._last + self._rest

    def done(self, cost: float, now: int) -> None:
        """It took `cost` seconds."""
        self._last = now
        self._rest = cost * 1000 / self._share
        self._failed = False

    def failed(self, now: int) -> None:
        """It could not be done; it is due again in five seconds."""
        self._last, self._rest, self._failed = now, RETRY_MILLISECONDS, True
