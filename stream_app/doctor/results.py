"""What a check finds."""

from typing import Literal, NamedTuple

from stream_app.errors import StreamAppError

Level = Literal["ok", "skipped", "warning", "problem"]
"""`skipped` was not checked, and the message says why; a `warning` is for somebody to think about, or a hint."""


class CheckResult(NamedTuple):
    """One line of the report."""

    level: Level
    message: str
    remedy: str = ""


def ok(message: str) -> CheckResult:
    """All is as it must be."""
    return CheckResult("ok", message)


def skipped(message: str, remedy: str = "") -> CheckResult:
    """Not checked, and why."""
    return CheckResult("skipped", message, remedy)


def warning(message: str, remedy: str) -> CheckResult:
    """It works, and may not work for long or not as somebody believes."""
    return CheckResult("warning", message, remedy)


def problem(message: str, remedy: str) -> CheckResult:
    """It does not work, or loses something."""
    return CheckResult("problem", message, remedy)


def failure(error: StreamAppError) -> CheckResult:
    """What a command would have said."""
    return problem(error.message, error.remedy)
