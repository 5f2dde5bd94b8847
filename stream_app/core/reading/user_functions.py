"""Calls the pipeline's own functions on a validated record: cleaning steps, feature function."""

from collections.abc import Callable, Sequence
from math import isfinite
from typing import Any, NamedTuple

from stream_app.cleaning import Rejected, step_name
from stream_app.pipeline import CleaningStep
from stream_app.records import Failure, Features, Fields
from stream_app.resilience import TRANSIENT


class CleanedRecord(NamedTuple):
    """Fields of a record after cleaning; `imputed` names those whose value was made up."""

    fields: Fields
    imputed: tuple[str, ...] = ()


def clean(fields: Fields, steps: Sequence[CleaningStep]) -> CleanedRecord | Failure:
    """Apply the cleaning steps in order; `fields` is not modified.

    Failures: `rejected` if a step raised `Rejected`, with its reason; `cleaning-unavailable` if an
    external system failed; `cleaning-failed` if a step raised anything else or did not return a
    mapping.

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
    return CleanedRecord(cleaned, tuple(imputed))


def extract_features(function: Callable[[Fields], Features], fields: Fields) -> Features | Failure:
    """Call the feature function on a cleaned record.

    Returns a non-empty dict of finite floats, 64-bit integers, booleans and strings, of exactly
    these types. Failures: `features-unavailable` if an external system failed; `features-failed`
    if the function raised anything else; `feature-invalid` if it returned anything else.

    >>> extract_features(lambda fields: {"long": fields["distance"] > 1000}, {"distance": 1400.0})
    {'long': True}
    >>> extract_features(lambda fields: {"distance": None}, {}).message
    'feature distance is NoneType'
    """
    try:
        features = function(fields)
    except TRANSIENT as error:
        return Failure(
            "features-unavailable", f"{type(error).__name__} in the feature function", error
        )
    except Exception as error:
        return Failure("features-failed", f"{type(error).__name__} in the feature function", error)
    if type(features) is not dict:
        return Failure(
            "feature-invalid", f"the feature function returned {type(features).__name__}, not dict"
        )
    if not features:
        return Failure("feature-invalid", "the feature function returned no features")
    for name, value in features.items():
        # Fast path of nearly all features: NaN or infinity minus itself is NaN, not zero.
        if type(value) is float and value - value == 0.0 and type(name) is str and name.isascii():
            continue
        if type(name) is not str or not _is_encodable(name):
            return Failure("feature-invalid", "a feature's name is not a string")
        if not _is_valid(value):
            return Failure("feature-invalid", f"feature {name} is {_describe(value)}")
    return features


def _is_valid(value: Any) -> bool:
    # Exact types: a subclass, such as NumPy's float, may be encoded or pickled differently.
    kind = type(value)
    if kind is float:
        return isfinite(value)
    if kind is str:
        return _is_encodable(value)
    if kind is int:
        return -(2**63) <= int(value) < 2**63
    return kind is bool


def _is_encodable(value: str) -> bool:
    """Return True if the string has no lone surrogates, which cannot be encoded in UTF-8."""
    return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)


def _describe(value: Any) -> str:
    defect = {
        float: " that is not finite",
        int: " of more than 64 bits",
        str: " with a lone surrogate",
    }
    return type(value).__name__ + defect.get(type(value), "")
