"""Cleaning: the pipeline's steps, in order, on a validated record."""

from collections.abc import Sequence
from typing import NamedTuple

from stream_app.cleaning import Rejected, step_name
from stream_app.pipeline import CleaningStep
from stream_app.records import Failure, Fields
from stream_app.resilience import TRANSIENT


class Cleaned(NamedTuple):
    """A record after cleaning; `imputed` names the fields whose value was invented, each once."""

    fields: Fields
    imputed: tuple[str, ...] = ()


def clean(fields: Fields, steps: Sequence[CleaningStep]) -> Cleaned | Failure:
    """Apply each step to what the steps before it left; `fields` stays as it is.

    Failures: `rejected` with the reason of the step that raised `Rejected`, `cleaning-unavailable` when what a step
    needs did not answer, and `cleaning-failed` when it raised anything else or returned no mapping.

    >>> clean({"distance": 10}, [lambda fields: {"km": fields["distance"] * 1.609}]).fields
    {'distance': 10, 'km': 16.09}
    """
    cleaned, imputed = fields.copy(), dict[str, None]()
    for step in steps:
        try:
            changes = step(cleaned)
            cleaned.update(changes)
        except Rejected as rejection:
            return Failure("rejected", rejection.reason)
        except TRANSIENT as error:
            return Failure(
                "cleaning-unavailable", f"{type(error).__name__} in {step_name(step)}", error
            )
        except Exception as error:
            return Failure("cleaning-failed", f"{type(error).__name__} in {step_name(step)}", error)
        if changes and getattr(step, "imputes", False):
            imputed |= dict.fromkeys(changes)
    return Cleaned(cleaned, tuple(imputed))
