"""A check, its results, and constructors for each level of result."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from stream_app.doctor.context import DoctorContext
from stream_app.errors import StreamAppError

Level = Literal["ok", "skipped", "warning", "problem"]
"""A `skipped` result gives the reason in its message; a `warning` needs somebody's judgement."""

LIMIT_SECONDS = 20.0


class CheckResult(NamedTuple):
    """One result of a check."""

    level: Level
    message: str
    remedy: str = ""


CheckFunction = Callable[[DoctorContext], Iterable[CheckResult]]


@dataclass(frozen=True, slots=True)
class Check:
    """A check with the area under which its results are listed, and its time limit in seconds."""

    area: str
    run: CheckFunction
    limit: float = LIMIT_SECONDS


@dataclass(frozen=True, slots=True)
class ReportedResult:
    """A result with its area, as printed and as JSON."""

    area: str
    level: Level
    message: str
    remedy: str


def ok(message: str) -> CheckResult:
    """Return a result for something that is as it must be."""
    return CheckResult("ok", message)


def skipped(message: str, remedy: str = "") -> CheckResult:
    """Return a result for something that was not checked; the message gives the reason."""
    return CheckResult("skipped", message, remedy)


def warning(message: str, remedy: str) -> CheckResult:
    """Return a result for something that works, but may fail later or behave unexpectedly."""
    return CheckResult("warning", message, remedy)


def problem(message: str, remedy: str) -> CheckResult:
    """Return a result for something that does not work or loses data."""
    return CheckResult("problem", message, remedy)


def from_error(error: StreamAppError) -> CheckResult:
    """Return the problem that an error describes."""
    return problem(error.message, error.remedy)
