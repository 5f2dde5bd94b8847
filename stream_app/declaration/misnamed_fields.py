"""Explanation of a call of a declaration class with an unknown, missing or unnamed field."""

import re
from dataclasses import fields
from difflib import get_close_matches
from typing import Any

from stream_app.cleaning import Between, Clip, Impute, Normalise, NullIf, Rename
from stream_app.pipeline import Label, Pipeline, Threshold, Thresholds
from stream_app.resilience import Breaker, Fallback, Limits, Retry

_CLASSES: tuple[Any, ...] = (
    Pipeline, Label, Threshold, Thresholds, Retry, Breaker, Fallback, Limits,
    Between, Clip, Impute, Normalise, NullIf, Rename,
)  # fmt: skip
_FIELDS = {one.__name__: [field.name for field in fields(one)] for one in _CLASSES}

# Messages of Python 3.11 to 3.13.
_UNKNOWN = re.compile(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'")
_MISSING = re.compile(r"(\w+)\.__init__\(\) missing \d+ required [a-z -]*arguments?: (.+)")
_UNNAMED = re.compile(r"(\w+)\.__init__\(\) takes 1 positional argument but \d+ were given")


def explain_misnamed_field(error: BaseException) -> tuple[str, str] | None:
    """Return message and remedy for a `TypeError` that a declaration class raised, else None.

    >>> explain_misnamed_field(
    ...     TypeError("Label.__init__() got an unexpected keyword argument 'horizn'")
    ... )[0]
    'Label: unknown field horizn; the nearest is horizon'
    """
    if not isinstance(error, TypeError):
        return None
    text = str(error)
    for pattern, explain in (
        (_UNKNOWN, _unknown), (_MISSING, _missing), (_UNNAMED, _unnamed)
    ):  # fmt: skip
        found = pattern.match(text)
        if found is not None and found[1] in _FIELDS:
            return explain(*found.groups())
    return None


def _unknown(name: str, wrong: str) -> tuple[str, str]:
    known = _FIELDS[name]
    nearest = get_close_matches(wrong, known, 1)
    hint = f"; the nearest is {nearest[0]}" if nearest else ""
    return f"{name}: unknown field {wrong}{hint}", f"Choose from {', '.join(known)}"


def _missing(name: str, quoted: str) -> tuple[str, str]:
    missing = re.findall(r"'(\w+)'", quoted)
    return f"{name} lacks {', '.join(missing)}", "Declare it"


def _unnamed(name: str) -> tuple[str, str]:
    return f"{name} has a value without the name of its field", "Write field=value for each"
