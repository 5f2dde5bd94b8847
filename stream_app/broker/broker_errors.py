"""What can go wrong with the embedded broker, each with its remedy."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stream_app.errors import BrokerError

_FULL = {errno.ENOSPC, errno.EDQUOT}


class DownloadError(BrokerError):
    """A server jar cannot be fetched, or what came is not what the lock file says."""


class JavaMissingError(BrokerError):
    """There is no Java to run the broker with."""


class PortTakenError(BrokerError):
    """Another process listens on the broker's port."""


class DataDirInUseError(BrokerError):
    """Another broker works on the same files."""


class DiskError(BrokerError):
    """A folder is full or cannot be written."""


class BrokerDiedError(BrokerError):
    """The broker's process ended while it was starting."""


class StartTimeoutError(BrokerError):
    """The broker was not ready in time."""


class NotStartedError(BrokerError):
    """The broker has no address yet, because it was never started."""


def disk_full(folder: Path) -> DiskError:
    """The error for a disk without space at `folder`."""
    return DiskError(
        f"The disk of {folder} is full", "Free some space, or choose a folder on another disk"
    )


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turn an `OSError` of the block, other than a time-out, into a `DiskError` about `folder`."""
    try:
        yield
    except TimeoutError:
        raise
    except OSError as error:
        if error.errno in _FULL:
            raise disk_full(folder) from error
        raise DiskError(
            f"Cannot use {folder}: {error.strerror or error}",
            "Choose another folder (STREAM_APP_DATA_DIR, STREAM_APP_CACHE_DIR), or let this user read and write there",
        ) from error
