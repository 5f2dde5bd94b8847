"""A pipeline's run folder on this machine, where its workers say how they ended to whoever supervises them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile

from stream_app.errors import SettingsError, StreamAppError
from stream_app.settings import Settings


def make_run_folder(settings: Settings, pipeline: str) -> Path:
    """The run folder of the pipeline so named; `SettingsError` if this user cannot write there."""
    folder = settings.data_dir / "run" / pipeline
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise SettingsError(
            f"Cannot write to {folder}: {error.strerror}",
            "Set STREAM_APP_DATA_DIR to a folder that this user may write to",
        ) from None
    return folder


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
