"""How a rule of a pipeline's declaration is put."""

import math
from collections.abc import Mapping

from stream_app.errors import PipelineError


def require(condition: bool, message: str, remedy: str) -> None:
    """Raise a `PipelineError` unless the condition holds."""
    if not condition:
        raise PipelineError(message, remedy)


def require_type(expected: type, values: Mapping[str, object], how: str) -> None:
    """Raise a `PipelineError` for the first value, by name, that is of another type."""
    for name, value in values.items():
        require(
            isinstance(value, expected),
            f"{name} is of type {type(value).__name__}",
            f"Give {name} as {how}",
        )


def is_finite(value: object) -> bool:
    """Whether it is a number, and a finite one; a boolean is none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
