"""What a check finds."""

from typing import Literal, NamedTuple

from stream_app.errors import StreamAppError

Level = Literal["ok", "skipped", "warning", "problem"]
"""`skipped` was not checked, and the message says why; a `warning` is for somebody to think about, or a hint."""


class Finding(NamedTuple):
    """One line of the report."""

    level: Level
    message: str
    remedy: str = ""


def ok(message: str) -> Finding:
    """All is as it must be."""
    return Finding("ok", message)


def skipped(message: str, remedy: str = "") -> Finding:
    """Not checked, and why."""
    return Finding("skipped", message, remedy)


def warning(message: str, remedy: str) -> Finding:
    """It works, and may not work for long or not as somebody believes."""
    return Finding("warning", message, remedy)


def problem(message: str, remedy: str) -> Finding:
    """It does not work, or loses something."""
    return Finding("problem", message, remedy)


def failure(error: StreamAppError) -> Finding:
    """What a command would have said."""
    return problem(error.message, error.remedy)
