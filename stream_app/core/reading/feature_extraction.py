"""What the model sees: the pipeline's feature function, and the check of what it returned."""

from collections.abc import Callable
from math import isfinite
from typing import Any

from stream_app.records import Failure, Features, Fields
from stream_app.resilience import TRANSIENT


def extract(function: Callable[[Fields], Features], fields: Fields) -> Features | Failure:
    """Call the feature function on a cleaned record.

    Gives a non-empty dict of finite floats, 64-bit integers, booleans and strings, of exactly these types. Failures:
    `features-unavailable` when what the function needs did not answer, `features-failed` when it raised anything else,
    `feature-invalid` for anything else that it returned.

    >>> extract(lambda fields: {"long": fields["distance"] > 1000}, {"distance": 1400.0})
    {'long': True}
    >>> extract(lambda fields: {"distance": None}, {}).message
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
        # What nearly all are, for the rest takes longer. A number minus itself is NaN if the number is not finite.
        if type(value) is float and value - value == 0.0 and type(name) is str and name.isascii():
            continue
        if type(name) is not str or not _is_text(name):
            return Failure("feature-invalid", "a feature's name is not a string")
        if not _is_valid(value):
            return Failure("feature-invalid", f"feature {name} is {_what(value)}")
    return features


def _is_valid(value: Any) -> bool:
    """Exact types, for a subclass (as NumPy's floats are) need not be encoded or pickled as what it derives from."""
    kind = type(value)
    if kind is float:
        return isfinite(value)
    if kind is str:
        return _is_text(value)
    if kind is int:
        return -(2**63) <= int(value) < 2**63
    return kind is bool


def _is_text(value: str) -> bool:
    """Whether the string has no lone surrogates, which no encoder takes."""
    return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)


def _what(value: Any) -> str:
    flaw = {
        float: " that is not finite",
        int: " of more than 64 bits",
        str: " with a lone surrogate",
    }
    return type(value).__name__ + flaw.get(type(value), "")
