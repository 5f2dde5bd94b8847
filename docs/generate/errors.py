"""`errors.md`: codes of failed records, headers of dead letters, exit codes."""

from docs.generate.markdown import code, paragraphs, table
from stream_app.cli.exit_codes import exit_codes
from stream_app.error_codes import ERROR_CODES, WHO_ACTS
from stream_app.headers import DEAD_LETTER_HEADERS

_INTRODUCTION = """# Errors

## Codes of failed records

A record that fails becomes a dead letter with one of these codes. They are listed in the order of
processing. [Operations](../operations.md#dead-letters) says more about remedies.
"""

_CLASSES = """## Classes

The class of an error says who has to act:
"""

_HEADERS = """## Headers of a dead letter

Key, value and headers are those of the original record, with these headers added:
"""

_EXIT_CODES = """## Exit codes

Every expected failure of a command is one line on standard error that says what happened and what
to do. [Operations](../operations.md#exit-codes) lists the actions of a service manager.
"""


def page() -> str:
    """Returns the page: failed records first, then exit codes."""
    codes = [
        [code(e.code), e.stage, e.error_class, e.meaning, e.remedy] for e in ERROR_CODES.values()
    ]
    headers = [[code(name), meaning] for name, meaning in DEAD_LETTER_HEADERS.items()]
    used = {e.error_class for e in ERROR_CODES.values()}
    classes = [[kind.value, who] for kind, who in WHO_ACTS.items() if kind in used]
    exits = [[code(number), paragraphs(meaning)] for number, meaning in exit_codes()]
    return "\n".join(
        [
            _INTRODUCTION,
            table(["code", "stage", "class", "meaning", "remedy"], codes),
            _CLASSES,
            table(["class", "who"], classes),
            _HEADERS,
            table(["header", "meaning"], headers),
            _EXIT_CODES,
            table(["code", "meaning"], exits),
        ]
    )
