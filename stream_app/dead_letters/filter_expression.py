"""`--where`: a Python expression that says which dead letters are meant.

It is code of whoever gives it, and runs with all that they may do.
"""

import ast
import builtins
import dis
from collections import Counter
from collections.abc import Callable
from types import CodeType
from typing import Any

from stream_app.dead_letters.dead_letter_record import DeadLetter
from stream_app.errors import SelectionError


class FilterExpression:
    """A compiled expression; `SelectionError` if it is none or uses an unknown name.

    It is not met where it raises an exception, such as by a field that a record lacks: `failures` counts those by the
    name of the exception.
    """

    def __init__(self, expression: str) -> None:
        self.failures: Counter[str] = Counter()
        self._code = _compile(expression)
        used = set(_globals(self._code))
        self._names = [
            (name, get) for name, get in _NAMES.items() if name in used
        ]  # decoding takes time

    def __call__(self, letter: DeadLetter) -> bool:
        try:
            names = {name: get(letter) for name, get in self._names}
            return bool(eval(self._code, {"__builtins__": builtins, **names}))
        except (
            Exception,
            SystemExit,
        ) as error:  # the expression is the user's, and so is what it raises
            self.failures[type(error).__name__] += 1
            return False

    def complaint(self) -> str | None:
        """What there is to say about failures, if there were some."""
        if not self.failures:
            return None
        kinds = ", ".join(f"{name} {count:,}" for name, count in self.failures.most_common())
        return f"--where raised an exception for {self.failures.total():,} letters, which are left out: {kinds}"


_NAMES: dict[str, Callable[[DeadLetter], Any]] = {
    "record": lambda letter: letter.record,
    "value": lambda letter: letter.value,
    "key": lambda letter: None if letter.key is None else letter.key.decode("utf-8", "replace"),
    "headers": lambda letter: letter.facts,
    "code": lambda letter: letter.code,
    "error_class": lambda letter: letter.error_class,
    "stage": lambda letter: letter.stage,
    "message": lambda letter: letter.message,
    "group": lambda letter: letter.group,
    "timestamp": lambda letter: letter.timestamp,
    "topic": lambda letter: letter.ref.origin.topic,
    "partition": lambda letter: letter.ref.origin.partition,
    "offset": lambda letter: letter.ref.origin.offset,
}
"""What an expression may refer to; the documentation has the list."""


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
    unknown = next(
        (name for name in _globals(code) if name not in _NAMES and not hasattr(builtins, name)),
        None,
    )
    if unknown is not None:
        raise SelectionError(
            f"--where does not know the name {unknown}", f"Use {', '.join(_NAMES)}"
        )
    return code


def _globals(code: CodeType) -> list[str]:
    """The names that are looked up outside the expression, also those within lambdas and comprehensions."""
    inner = [
        name
        for constant in code.co_consts
        if isinstance(constant, CodeType)
        for name in _globals(constant)
    ]
    return [
        i.argval for i in dis.get_instructions(code) if i.opname in ("LOAD_NAME", "LOAD_GLOBAL")
    ] + inner
