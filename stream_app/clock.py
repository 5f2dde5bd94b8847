"""Wall clock of this process."""

from time import time


def now_ms() -> int:
    """Return the wall-clock time in Unix milliseconds."""
    return int(time() * 1000)
