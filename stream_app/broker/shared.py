"""One embedded broker for several commands at once: the last of them stops it, if it was started for them."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from stream_app.broker.embedded import EmbeddedBroker
from stream_app.broker.errors import disk_errors


@contextmanager
def in_use(broker: EmbeddedBroker) -> Iterator[None]:
    """Start the broker unless it runs; stop it after the last block that uses it, unless it was started by hand.

    Every block holds a shared lock on a file in the data folder, which ends with its process, however that ends.
    """
    folder = broker.status().data_dir
    started_here = folder / "started-for-use"
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        users = (folder / "users.lock").open("w")
    with users:
        if _alone(users):
            started_here.unlink(missing_ok=True)
            if not broker.status().running:
                started_here.touch()
        else:
            fcntl.flock(users, fcntl.LOCK_SH)  # waits while another starts or stops the broker
        broker.start()
        fcntl.flock(users, fcntl.LOCK_SH)
        try:
            yield
        finally:
            if _alone(users) and started_here.exists():
                broker.stop(timeout=8.0)


def _alone(users: IO[str]) -> bool:
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
