"""Run folder of a pipeline on this machine: how its workers ended.

A worker leaves two files there: the error that ended it, for its supervisor and for `status`, and
its restart history, which its next run publishes. The quarantine's journal is a third.
"""

import errno
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from threading import Lock

from stream_app.errors import SettingsError, StoreError, StreamAppError
from stream_app.files import write_atomically
from stream_app.settings import Settings

# Error numbers of a full disk and of an exhausted quota.
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)

DIED = "died"
"""Cause of a restart without an error: the worker was killed, crashed, or the machine stopped."""


def make_run_folder(settings: Settings, pipeline: str) -> Path:
    """Create and return the run folder of the pipeline with this name.

    Raises:
        SettingsError: this user cannot write there.
        StoreError: the disk is full.
    """
    folder = settings.data_dir / "run" / pipeline
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        if error.errno in DISK_FULL:
            raise write_failed(folder, error) from None
        raise SettingsError(
            f"Cannot write to {folder}: {error.strerror}",
            "Set STREAM_APP_DATA_DIR to a folder that this user may write to",
        ) from None
    return folder


def write_failed(folder: Path, error: OSError) -> StoreError:
    """Return the error of a file that cannot be written."""
    return StoreError(
        f"Cannot write to {folder}: {error.strerror}",
        "Free some space, or set STREAM_APP_DATA_DIR to another folder",
    )


def write_error(file: Path, error: StreamAppError) -> None:
    """Write the error that ends this process; a full disk does not hide it."""
    with suppress(OSError):
        file.write_text(json.dumps({"message": error.message, "remedy": error.remedy}))


def read_error(file: Path) -> tuple[str, str] | None:
    """Return message and remedy of the error that ended a worker, or None."""
    try:
        stored = json.loads(file.read_text())
        return stored["message"], stored["remedy"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextmanager
def writes_error(file: Path) -> Iterator[None]:
    """Write an expected error that ends the block to a file."""
    file.unlink(missing_ok=True)
    try:
        yield
    except StreamAppError as error:
        write_error(file, error)
        raise


class RestartHistory:
    """Exit history of a worker, reported after its next start.

    `begin` presumes a crash, because a killed process can write nothing. Failures are counted until
    they are reported, so none is lost if the next run fails as well. A full disk stops no worker.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = Lock()
        self._unreported: dict[str, int] = {}
        self._claimed = False

    def begin(self) -> dict[str, int]:
        """Start a run; returns the number of unreported failures of earlier runs by cause."""
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            stored = json.loads(self._file.read_text())
            unreported = {str(cause): int(count) for cause, count in stored["unreported"].items()}
            cause = stored["failure"]
            if cause is not None:
                unreported[cause] = unreported.get(cause, 0) + 1
            self._unreported = unreported
        self._write(DIED)
        return dict(self._unreported)

    def fail(self, error: BaseException) -> None:
        """End this run with an error."""
        self._write(type(error).__name__)

    def end(self) -> None:
        """End this run normally."""
        self._write(None)

    def claim(self) -> dict[str, int]:
        """Return the unreported failures by cause to the first that asks. Thread-safe."""
        with self._lock:
            unreported = {} if self._claimed else self._unreported
            self._claimed = True
        return dict(unreported)

    def mark_reported(self) -> None:
        """Forget the failures that were claimed: publishing them is committed."""
        self._unreported = {}
        self._write(DIED)

    def _write(self, failure: str | None) -> None:
        content = {"failure": failure, "unreported": self._unreported}
        with suppress(OSError):
            write_atomically(self._file, json.dumps(content))
