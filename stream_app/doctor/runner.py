"""Running checks one after the other; whatever a check does, the others are run."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from threading import Thread

from stream_app.doctor import results
from stream_app.doctor.context import DoctorContext, NoModelError, UnavailableError
from stream_app.doctor.results import CheckResult, Level
from stream_app.errors import StreamAppError

LIMIT_SECONDS = 20.0

CheckFunction = Callable[[DoctorContext], Iterable[CheckResult]]


@dataclass(frozen=True, slots=True)
class Check:
    """One check: the area that its findings are listed under, and what it does."""

    area: str
    run: CheckFunction
    limit: float = LIMIT_SECONDS


@dataclass(frozen=True, slots=True)
class Reported:
    """A finding as it is shown; in JSON too."""

    area: str
    level: Level
    message: str
    remedy: str


def run_checks(checks: Iterable[Check], examined: DoctorContext) -> Iterator[Reported]:
    """The findings of all checks, as they come."""
    for check in checks:
        for level, message, remedy in _within_limit(check, examined):
            yield Reported(check.area, level, message, remedy)


def _within_limit(check: Check, examined: DoctorContext) -> list[CheckResult]:
    """What the check finds; a check that hangs is left alone, in a thread that ends with the process."""
    found: list[CheckResult] = []
    thread = Thread(target=lambda: found.extend(_guarded(check.run, examined)), daemon=True)
    thread.start()
    thread.join(check.limit)
    if thread.is_alive():
        examined.forget()
        return [
            results.problem(
                f"no result within {check.limit:.0f} s",
                "Is the network or the disk slow? Try again",
            )
        ]
    return found


def _guarded(run: CheckFunction, examined: DoctorContext) -> list[CheckResult]:
    """The findings, with what went wrong as the last of them."""
    found: list[CheckResult] = []
    try:
        found.extend(run(examined))
    except UnavailableError as missing:
        found.append(_missing(missing))
    except StreamAppError as error:
        found.append(results.failure(error))
    except Exception as error:  # a bug in one check must not hide what the others find
        message = f"the check itself failed: {type(error).__name__}: {error}"
        found.append(results.problem(message, "This is a bug in the check; please report it"))
    return found


def _missing(missing: UnavailableError) -> CheckResult:
    """The error for the first check that meets it; then only that it is missing."""
    if missing.error is None or missing.reported:
        return results.skipped(f"needs {missing.what}")
    missing.reported = True
    if isinstance(missing.error, NoModelError):
        return results.skipped(missing.error.message)
    return results.failure(missing.error)
