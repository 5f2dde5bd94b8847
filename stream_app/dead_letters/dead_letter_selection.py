"""Selection of dead letters by conditions and by a Python expression."""

import ast
import builtins
import dis
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, fields
from types import CodeType
from typing import Any, Literal

from stream_app.dead_letters.dead_letter_reader import DeadLetter
from stream_app.errors import SelectionError
from stream_app.formatting import iso_time
from stream_app.transfer.consume import parse_since

Source = Literal["raw", "labels"]
"""Input of the pipeline that a dead letter came from."""

OffsetBounds = tuple[int | None, int | None]
"""First and last offset, both included; None leaves that side open."""

# Unix milliseconds of the year 10000.
_END_OF_TIME_MS = 253_402_300_800_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterSelection:
    """Selects the dead letters that meet every condition, or all if there is none.

    A condition with several values is met by any of them.

    Attributes:
        ids: error ids or prefixes of them.
        groups: fingerprints of causes or prefixes of them; each prefix must be unique.
        codes: error codes.
        classes: error classes.
        stages: stages of the pipeline.
        keys: keys of the records.
        since: earliest time of becoming a dead letter in Unix milliseconds, included.
        until: end of that time in Unix milliseconds, excluded.
        source: input that the record came from.
        partition: partition of the input.
        offsets: range of offsets in the input.
        where: Python expression, evaluated by `FilterExpression`.
    """

    ids: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()
    keys: tuple[bytes, ...] = ()
    since: int | None = None
    until: int | None = None
    source: Source | None = None
    partition: int | None = None
    offsets: OffsetBounds = (None, None)
    where: str | None = None

    def describe(self) -> str:
        """Return the conditions in words; equal selections have equal descriptions.

        >>> DeadLetterSelection(groups=("5f0c",), partition=3).describe()
        'group 5f0c, partition 3'
        """
        parts = []
        for one in fields(self):
            value = getattr(self, one.name)
            if value in ((), None, (None, None)):
                continue
            if one.name in ("since", "until"):
                value = iso_time(value)
            values = value if one.name in _SINGULAR else (value,)
            words = " or ".join(map(_describe, values))
            parts.append(f"{_SINGULAR.get(one.name, one.name)} {words}")
        return ", ".join(parts) or "all dead letters"


# Conditions that take several values, each with the word for one value.
_SINGULAR = {
    "ids": "id",
    "groups": "group",
    "codes": "code",
    "classes": "class",
    "stages": "stage",
    "keys": "key",
}


def _describe(value: Any) -> str:
    if isinstance(value, tuple):
        return "-".join("" if bound is None else str(bound) for bound in value)
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def parse_time(text: str, now: float | None = None) -> int:
    """Return the Unix milliseconds of an age (`2h`) or an ISO 8601 time.

    Raises:
        SelectionError: the text is neither.

    >>> parse_time("1h", now=3660.0)
    60000
    """
    time = parse_since(text, now)
    if time is None or not 0 <= time < _END_OF_TIME_MS:
        raise SelectionError(
            f"{text} is not a time", "Give 30s, 10m, 2h, 3d (ago) or 2026-01-31T12:00:00Z"
        )
    return time


def parse_offsets(text: str) -> OffsetBounds:
    """Return the range of `100-200`, `100-`, `-200` or `100`.

    Raises:
        SelectionError: the text is not a range.

    >>> parse_offsets("100-200"), parse_offsets("7-"), parse_offsets("7")
    ((100, 200), (7, None), (7, 7))
    """
    found = re.fullmatch(r"([0-9]{0,18})(-?)([0-9]{0,18})", text)
    if found is None or not (found[1] or found[3]) or (found[3] and not found[2]):
        raise SelectionError(
            f"{text} is not a range of offsets", "Give FIRST-LAST, FIRST- or -LAST, e.g. 100-200"
        )
    first = int(found[1]) if found[1] else None
    last = int(found[3]) if found[3] else None
    return (first, last) if found[2] else (first, first)


class FilterExpression:
    """Compiled `--where` expression, a predicate over dead letters.

    The expression runs with all rights of the user who gives it.

    Args:
        expression: Python source of one expression over the names in `_NAMES` and the builtins.

    Attributes:
        failures: number of dead letters for which the expression raised an exception, by the
            exception's class. Such dead letters do not match.

    Raises:
        SelectionError: the text is not an expression or uses an unknown name.
    """

    def __init__(self, expression: str) -> None:
        self.failures: Counter[str] = Counter()
        self._code = _compile(expression)
        used = set(_global_names(self._code))
        # Only the names in use are evaluated: decoding the record takes time.
        self._names = [(name, get) for name, get in _NAMES.items() if name in used]

    def __call__(self, dead_letter: DeadLetter) -> bool:
        # The expression is the user's code and may raise anything, including SystemExit.
        try:
            variables = {name: get(dead_letter) for name, get in self._names}
            return bool(eval(self._code, {"__builtins__": builtins, **variables}))
        except (Exception, SystemExit) as error:
            self.failures[type(error).__name__] += 1
            return False

    def warning(self) -> str | None:
        """Return a line about the exceptions that the expression raised, or None."""
        if not self.failures:
            return None
        kinds = ", ".join(f"{name} {count:,}" for name, count in self.failures.most_common())
        return (
            f"--where raised an exception for {self.failures.total():,} dead letters, "
            f"which are not selected: {kinds}"
        )


# Names that an expression may use; docs/dead-letters.md lists them.
_NAMES: dict[str, Callable[[DeadLetter], Any]] = {
    "record": lambda one: one.record,
    "value": lambda one: one.value,
    "key": lambda one: None if one.key is None else one.key.decode("utf-8", "replace"),
    "headers": lambda one: one.header_texts,
    "code": lambda one: one.code,
    "error_class": lambda one: one.error_class,
    "stage": lambda one: one.stage,
    "message": lambda one: one.message,
    "group": lambda one: one.group,
    "timestamp": lambda one: one.timestamp,
    "topic": lambda one: one.ref.origin.topic,
    "partition": lambda one: one.ref.origin.partition,
    "offset": lambda one: one.ref.origin.offset,
}


def _compile(expression: str) -> CodeType:
    try:
        tree = ast.parse(expression.strip(), "--where", "eval")
        code = compile(tree, "--where", "eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        raise SelectionError(
            f"--where is no Python expression: {reason}",
            "Correct it, e.g. \"record['carrier'] == 'AA'\"",
        ) from None
    for name in _global_names(code):
        if name not in _NAMES and not hasattr(builtins, name):
            raise SelectionError(
                f"--where does not know the name {name}", f"Use {', '.join(_NAMES)}"
            )
    return code


def _global_names(code: CodeType) -> list[str]:
    """Return the names that the expression looks up, including those in nested functions."""
    loads = ("LOAD_NAME", "LOAD_GLOBAL")
    own = [one.argval for one in dis.get_instructions(code) if one.opname in loads]
    nested = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return own + [name for inner in nested for name in _global_names(inner)]
