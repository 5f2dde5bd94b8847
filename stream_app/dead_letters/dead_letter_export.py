"""Dead letters into a file."""

from collections.abc import Iterable
from pathlib import Path

from stream_app.dead_letters.dead_letter_record import DeadLetter
from stream_app.dead_letters.dead_letter_rendering import export_line
from stream_app.errors import OutputError
from stream_app.transfer.send_progress import SendProgress


def export_letters(
    letters: Iterable[DeadLetter], to: Path, progress: SendProgress, *, raw: bool
) -> int:
    """Write them to a new file and return how many; if it is not finished, the file is removed.

    When `raw`, their values with a line break between them: of a single letter, exactly its bytes. Otherwise a line of
    JSON each. Raises `OutputError` if the file cannot be written or is there already.
    """
    try:
        file = to.open("xb")
    except FileExistsError:
        raise OutputError(f"{to} is there already", "Give the name of a new file") from None
    except OSError as error:
        raise _unwritable(to, error) from None
    number = 0
    try:
        with file:
            for number, letter in enumerate(letters, start=1):
                if not raw:
                    file.write(export_line(letter) + b"\n")
                else:
                    file.write((b"\n" if number > 1 else b"") + (letter.value or b""))
                progress.update(number, number)
    except BaseException as error:
        to.unlink(missing_ok=True)
        raise (_unwritable(to, error) if isinstance(error, OSError) else error) from None
    return number


def _unwritable(to: Path, error: OSError) -> OutputError:
    return OutputError(
        f"{to} cannot be written: {error.strerror or error}", "Name a file in a folder with room"
    )
