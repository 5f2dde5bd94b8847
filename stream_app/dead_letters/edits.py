"""`--edit FILE:function`: a function of the user's own that mends dead letters before they are tried or sent again."""

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from stream_app.core.reading.decoding import decode
from stream_app.dead_letters.dead_letter_record import DeadLetter
from stream_app.errors import PipelineError, SelectionError
from stream_app.loading import load_file
from stream_app.pipeline import Pipeline
from stream_app.records import Failure


class EditFailure(NamedTuple):
    """Why the function gave nothing that could be sent, e.g. "KeyError", and where: "mend.py:7"."""

    reason: str
    where: str


Edit = Callable[[DeadLetter], bytes | EditFailure | None]
"""Gives the new value of a letter, None to leave the letter out, or why there is neither; raises nothing."""


def load_edit(spec: str) -> Edit:
    """The function that `FILE:function` names.

    It is called with a `DeadLetter`, and returns bytes or None. Raises `SelectionError` if there is no such function,
    `PipelineError` if the file does not load.
    """
    target, colon, name = spec.rpartition(":")
    if not colon or not name.isidentifier() or not target.endswith(".py"):
        raise SelectionError(
            f"--edit {spec} names no function", "Give FILE:function, e.g. mend.py:edit"
        )
    try:
        module = load_file(Path(target))
    except PipelineError as error:
        raise PipelineError(f"--edit: {error.message}", error.remedy) from error
    function = getattr(module, name, None)
    if not callable(function):
        raise SelectionError(
            f"--edit: {target} has no function {name}", f"Write def {name}(letter) in it"
        )
    file = str(Path(target).resolve())
    return lambda letter: _apply(function, letter, file)


def _apply(
    function: Callable[[DeadLetter], Any], letter: DeadLetter, file: str
) -> bytes | EditFailure | None:
    try:
        value = function(letter)
    except (Exception, SystemExit) as error:  # the function is the user's, and so is what it raises
        lines = [
            frame.lineno
            for frame in traceback.extract_tb(error.__traceback__)
            if frame.filename == file
        ]
        return EditFailure(
            type(error).__name__, f"{Path(file).name}:{lines[-1]}" if lines else Path(file).name
        )
    if value is None or isinstance(value, bytes):
        return value
    return EditFailure(f"it returned {type(value).__name__}, not bytes or None", Path(file).name)


class Editing:
    """What an edit makes of a letter: the value that it returns, and the key that belongs to it."""

    def __init__(self, pipeline: Pipeline, edit: Edit | None) -> None:
        self._edit = edit
        self._key = pipeline.key or pipeline.event_id

    def __call__(
        self, letter: DeadLetter
    ) -> tuple[bytes | None, bytes | None] | EditFailure | None:
        """Key and value; None if the letter is to be left out.

        With an edit the key becomes that of the value's key field, where it has one, so that a wrong key can be mended.
        """
        if self._edit is None:
            return letter.key, letter.value
        value = self._edit(letter)
        if value is None or isinstance(value, EditFailure):
            return value
        fields = decode(value, letter.original_headers, letter.schemas)
        text = None if isinstance(fields, Failure) else fields.get(self._key)
        return (letter.key if text is None else str(text).encode()), value
