"""One embedded broker for several commands at the same time; the last of them stops it."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from stream_app.broker.broker_errors import disk_errors
from stream_app.broker.embedded import EmbeddedBroker

_STOP_SECONDS = 8.0


@contextmanager
def use_broker(broker: EmbeddedBroker) -> Iterator[None]:
    """Start the broker unless it runs; stop it after its last use, unless a user started it.

    Every block holds a shared lock on a file in the data folder, which the kernel releases when the
    process ends. A broker left by a killed process is stopped by the next process that uses it.
    """
    folder, marker = broker.status().data_dir, _marker(broker)
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "users.lock").open("w")
    with lock:
        if not _lock_exclusively(lock):
            # Waits while another process starts or stops the broker.
            fcntl.flock(lock, fcntl.LOCK_SH)
        elif not broker.status().running:
            marker.touch()
        broker.start()
        fcntl.flock(lock, fcntl.LOCK_SH)
        try:
            yield
        finally:
            if _lock_exclusively(lock) and marker.exists():
                broker.stop(timeout=_STOP_SECONDS)
                marker.unlink(missing_ok=True)


def keep_running(broker: EmbeddedBroker) -> None:
    """Keep the broker running after its last use, because a user has started it."""
    _marker(broker).unlink(missing_ok=True)


def _marker(broker: EmbeddedBroker) -> Path:
    """Return the file that exists while the broker runs only for commands that use it."""
    return broker.status().data_dir / "started-for-use"


def _lock_exclusively(lock: IO[str]) -> bool:
    """Return True if no other process uses the broker."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
