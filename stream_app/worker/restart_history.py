"""How the lives of one worker on this machine have ended, for its next life to tell."""

import json
from contextlib import suppress
from pathlib import Path
from threading import Lock

DIED = "died"
"""A worker ended without a word: it was killed, it crashed, or the machine went down."""


class RestartHistory:
    """The file that outlives a worker and says how it ended: the cause of a bad end, nothing after a good one.

    `begin` presumes the worst, for what is killed can write nothing. Bad ends count until they are `told`, so none is
    lost if the next life ends badly too. A disk that is full must not stop a worker.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = Lock()
        self._untold: dict[str, int] = {}
        self._claimed = False

    def begin(self) -> dict[str, int]:
        """A life begins; returns how often earlier ones have ended badly and nobody was told, by cause."""
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            noted = json.loads(self._file.read_text())
            untold = {str(cause): int(count) for cause, count in noted["untold"].items()}
            ended = noted["ended"]
            if ended is not None:
                untold[ended] = untold.get(ended, 0) + 1
            self._untold = untold
        self._write(DIED)
        return dict(self._untold)

    def fail(self, error: BaseException) -> None:
        """This life ends by an error."""
        self._write(type(error).__name__)

    def end(self) -> None:
        """This life ends as it should."""
        self._write(None)

    def claim(self) -> dict[str, int]:
        """The bad ends that are to be told, by cause; only the first who asks gets them (any thread)."""
        with self._lock:
            untold = {} if self._claimed else self._untold
            self._claimed = True
        return dict(untold)

    def told(self) -> None:
        """They have been told."""
        self._untold = {}
        self._write(DIED)

    def _write(self, ended: str | None) -> None:
        temporary = self._file.with_suffix(".life.tmp")
        with suppress(OSError):
            temporary.write_text(json.dumps({"ended": ended, "untold": self._untold}))
            temporary.replace(self._file)
