"""A pipeline's run folder on this machine, where its workers say how they ended to whoever supervises them."""

import errno
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile

from stream_app.errors import SettingsError, StoreError, StreamAppError
from stream_app.settings import Settings

FULL = (errno.ENOSPC, errno.EDQUOT)
"""What the kernel says of a disk that takes no more."""


def make_run_folder(settings: Settings, pipeline: str) -> Path:
    """The run folder of the pipeline so named.

    Raises `SettingsError` if this user cannot write there, `StoreError` if there is no room.
    """
    folder = settings.data_dir / "run" / pipeline
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        if error.errno in FULL:
            raise no_room(folder, error) from None
        raise SettingsError(
            f"Cannot write to {folder}: {error.strerror}",
            "Set STREAM_APP_DATA_DIR to a folder that this user may write to",
        ) from None
    return folder


def no_room(folder: Path, error: OSError) -> StoreError:
    """The error of a file that cannot be written there."""
    return StoreError(
        f"Cannot write to {folder}: {error.strerror}",
        "Free some space, or set STREAM_APP_DATA_DIR to another folder",
    )


def note_ending(file: Path, error: StreamAppError) -> None:
    """Leave word of an error that ends this process; a disk that is full must not hide it."""
    with suppress(OSError):
        file.write_text(json.dumps({"message": error.message, "remedy": error.remedy}))


@contextmanager
def endings_noted(file: Path) -> Iterator[None]:
    """Leave word of an expected error that ends the block."""
    file.unlink(missing_ok=True)
    try:
        yield
    except StreamAppError as error:
        note_ending(file, error)
        raise


def read_ending(file: Path) -> tuple[str, str] | None:
    """Message and remedy of the error that ended a worker, if it left word."""
    try:
        noted = json.loads(file.read_text())
        return noted["message"], noted["remedy"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
