"""Exports dead letters to a file: JSON lines, or the values alone."""

import base64
from collections.abc import Iterable
from pathlib import Path

import orjson

from stream_app.dead_letters.dead_letter_record import DeadLetter
from stream_app.dead_letters.dead_letter_rendering import position_object
from stream_app.errors import OutputError
from stream_app.transfer.progress import ProgressReporter


def export_dead_letters(
    dead_letters: Iterable[DeadLetter], to: Path, progress: ProgressReporter, *, raw: bool
) -> int:
    """Write dead letters to a new file; an incomplete file is deleted.

    Args:
        to: path of the file, which must not exist.
        progress: takes the number of dead letters written.
        raw: write the values alone, separated by line breaks, instead of JSON lines. The file of
            one dead letter then has exactly its bytes.

    Returns:
        The number of dead letters written.

    Raises:
        OutputError: the file exists already or cannot be written.
    """
    try:
        file = to.open("xb")
    except FileExistsError:
        raise OutputError(f"{to} exists already", "Give the name of a new file") from None
    except OSError as error:
        raise _unwritable(to, error) from None
    count = 0
    try:
        with file:
            for count, dead_letter in enumerate(dead_letters, start=1):
                if not raw:
                    file.write(export_line(dead_letter) + b"\n")
                else:
                    file.write((b"\n" if count > 1 else b"") + (dead_letter.value or b""))
                progress.update(count, count)
    except BaseException as error:
        to.unlink(missing_ok=True)
        raise (_unwritable(to, error) if isinstance(error, OSError) else error) from None
    return count


def export_line(dead_letter: DeadLetter) -> bytes:
    """Return a dead letter as a JSON object with key, value and header values in base64."""
    content = {
        "key": _base64(dead_letter.key),
        "value": _base64(dead_letter.value),
        "headers": [[name, _base64(value)] for name, value in dead_letter.headers],
    }
    return orjson.dumps(position_object(dead_letter) | content)


def _base64(content: bytes | None) -> str | None:
    return None if content is None else base64.b64encode(content).decode()


def _unwritable(to: Path, error: OSError) -> OutputError:
    return OutputError(
        f"{to} cannot be written: {error.strerror or error}",
        "Name a file in a folder with free disk space",
    )
