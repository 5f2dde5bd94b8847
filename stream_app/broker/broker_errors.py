"""Errors of the embedded broker, and the cause of a failed start."""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from stream_app.errors import BrokerError

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}
_ERROR_LINE = re.compile(
    r"\b(ERROR|FATAL)\b|^(Caused by|Error|Exception in|[\w.]+(Exception|Error)\b)"
)
_MAX_LINES = 3


class DownloadError(BrokerError):
    """A server jar cannot be fetched, or differs from the lock file."""


class JavaMissingError(BrokerError):
    """No Java is installed to run the broker."""


class PortTakenError(BrokerError):
    """Another process listens on the broker's port."""


class DataDirInUseError(BrokerError):
    """Another broker uses the data folder."""


class DiskError(BrokerError):
    """A folder is full or cannot be written."""


class BrokerDiedError(BrokerError):
    """The broker's process ended while it was starting."""


class StartTimeoutError(BrokerError):
    """The broker was not ready in time."""


class NotStartedError(BrokerError):
    """The broker was never started, so it has no address."""


def disk_full(folder: Path) -> DiskError:
    """Return the error of a folder on a full disk."""
    return DiskError(
        f"The disk of {folder} is full", "Free some space, or choose a folder on another disk"
    )


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Raise `DiskError` in place of an `OSError` of the block; a `TimeoutError` propagates."""
    try:
        yield
    except TimeoutError:
        raise
    except OSError as error:
        if error.errno in _DISK_FULL:
            raise disk_full(folder) from error
        raise DiskError(
            f"Cannot use {folder}: {error.strerror or error}",
            "Choose another folder (STREAM_APP_DATA_DIR, STREAM_APP_CACHE_DIR), "
            "or let this user read and write there",
        ) from error


def start_failure(folder: Path, text: str, log_file: Path) -> BrokerError:
    """Return the error of a broker that ended while it was starting.

    Args:
        folder: data folder of the broker.
        text: output and log of the start.
        log_file: file to name in the remedy.
    """
    if "Failed to acquire lock on file" in text:
        return _in_use(folder)
    if "No space left on device" in text or "Disk quota exceeded" in text:
        return disk_full(folder)
    if (
        "AccessDeniedException" in text
        or "(Permission denied)" in text
        or "Read-only file system" in text
    ):
        return DiskError(f"The broker cannot write to {folder}", "Let this user write there")
    if "Address already in use" in text:
        return PortTakenError(
            "The broker's port is taken", "Start again, or choose another port with --port"
        )
    return BrokerDiedError(
        f"The broker ended while starting: {_last_errors(text)}", f"See {log_file}"
    )


def _in_use(folder: Path) -> DataDirInUseError:
    other = _broker_process(folder)
    process = f" (process {other})" if other else ""
    return DataDirInUseError(
        f"Another broker{process} uses {folder}",
        f"Stop {f'process {other}' if other else 'it'}, or choose another folder",
    )


def _broker_process(folder: Path) -> int | None:
    config_file = str(folder / "server.properties")
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or ()
        if "kafka.Kafka" in command and config_file in command:
            return process.pid
    return None


def _last_errors(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if _ERROR_LINE.search(line)] or lines
    return " | ".join(dict.fromkeys(errors[-_MAX_LINES:])).rstrip(".") or "no output"
