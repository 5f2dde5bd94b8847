"""One embedded broker for several commands at once: the last of them stops it, if it was started for them."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from stream_app.broker.broker_errors import disk_errors
from stream_app.broker.embedded import EmbeddedBroker


@contextmanager
def in_use(broker: EmbeddedBroker) -> Iterator[None]:
    """Start the broker unless it runs; stop it after the last block that uses it, unless it was started by hand.

    Every block holds a shared lock on a file in the data folder, which ends with its process, however that ends. A
    broker that is left by a killed process is stopped by the next one that uses it.
    """
    folder, mark = broker.status().data_dir, _mark(broker)
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        users = (folder / "users.lock").open("w")
    with users:
        if not _alone(users):
            fcntl.flock(users, fcntl.LOCK_SH)  # waits while another starts or stops the broker
        elif not broker.status().running:
            mark.touch()
        broker.start()
        fcntl.flock(users, fcntl.LOCK_SH)
        try:
            yield
        finally:
            if _alone(users) and mark.exists():
                broker.stop(timeout=8.0)
                mark.unlink(missing_ok=True)


def keep_running(broker: EmbeddedBroker) -> None:
    """Leave the broker to whoever started it by hand, although it may have been started for use before."""
    _mark(broker).unlink(missing_ok=True)


def _mark(broker: EmbeddedBroker) -> Path:
    """The file that says that the broker was started for use."""
    return broker.status().data_dir / "started-for-use"


def _alone(users: IO[str]) -> bool:
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
