"""`--where`: a Python expression that says which dead letters are meant.

It is code of whoever gives it, and runs with all that they may do.
"""

import ast
import builtins
import dis
from collections import Counter
from collections.abc import Mapping
from typing import Any

from stream_app.deadletters.letter import DeadLetter
from stream_app.errors import SelectionError


class Where:
    """A compiled expression; `SelectionError` if it is none or uses an unknown name.

    It is not met where it raises an exception, such as by a field that a record lacks: `failures` counts those by the
    name of the exception.
    """

    def __init__(self, expression: str) -> None:
        self.failures: Counter[str] = Counter()
        self._code = _compile(expression)

    def __call__(self, letter: DeadLetter) -> bool:
        try:
            return bool(eval(self._code, {"__builtins__": builtins, **_names(letter)}))
        except Exception as error:  # the expression is the user's, and so is what it raises
            self.failures[type(error).__name__] += 1
            return False

    def complaint(self) -> str | None:
        """What there is to say about failures, if there were some."""
        if not self.failures:
            return None
        kinds = ", ".join(f"{name} {count:,}" for name, count in self.failures.most_common())
        return f"--where raised an exception for {self.failures.total():,} letters, which are left out: {kinds}"


def _names(letter: DeadLetter) -> Mapping[str, Any]:
    """What an expression may refer to; the documentation has the list."""
    return {
        "record": letter.record,
        "value": letter.value,
        "key": None if letter.key is None else letter.key.decode("utf-8", "replace"),
        "headers": letter.facts,
        "code": letter.code,
        "error_class": letter.error_class,
        "stage": letter.stage,
        "message": letter.message,
        "group": letter.group,
        "timestamp": letter.timestamp,
        "topic": letter.ref.origin.topic,
        "partition": letter.ref.origin.partition,
        "offset": letter.ref.origin.offset,
    }


NAMES = (
    "record", "value", "key", "headers", "code", "error_class", "stage", "message", "group", "timestamp",
    "topic", "partition", "offset",
)  # fmt: skip


def _compile(expression: str) -> Any:
    try:
        tree = ast.parse(expression.strip(), "--where", "eval")
        code = compile(tree, "--where", "eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        raise SelectionError(
            f"--where is no Python expression: {reason}", "Correct it, e.g. \"record['carrier'] == 'AA'\""
        ) from None
    unknown = next((name for name in _globals(code) if name not in NAMES and not hasattr(builtins, name)), None)
    if unknown is not None:
        raise SelectionError(f"--where does not know the name {unknown}", f"Use {', '.join(NAMES)}")
    return code


def _globals(code: Any) -> list[str]:
    """The names that are looked up outside the expression, also those within lambdas and comprehensions."""
    inner = [name for constant in code.co_consts if hasattr(constant, "co_code") for name in _globals(constant)]
    return [i.argval for i in dis.get_instructions(code) if i.opname in ("LOAD_NAME", "LOAD_GLOBAL")] + inner
