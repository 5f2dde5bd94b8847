"""One name for all failures of one cause: the same code, stage, place in the user's code and message but for values."""

import re
import sysconfig
from functools import lru_cache
from hashlib import blake2b
from types import CodeType, TracebackType

from stream_app.error_codes import ERROR_CODES
from stream_app.records import Failure

READ = 1000  # characters of a message that are looked at

_VALUES = re.compile(
    r"""
      (?<!\w)[bru]?(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|`[^`]*`)(?!\w)   # quoted
    | (?<![\w.+%-])[\w.+%-]+@[\w.-]*\w                                       # address
    | \b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b              # UUID
    | \b0[xX][0-9a-fA-F]+\b                                                  # hexadecimal
    | \b(?=[a-fA-F]*\d)(?=\d*[a-fA-F])[0-9a-fA-F]{8,}\b
    | (?<![\w+/=-])(?:(?=[\w+/=-]*\d)[\w+/=-]{20,}|[\w+/=-]{40,})            # key, hash or token
    | (?<![\w.])[-+]?(?:inf|nan)\b                                         # number
    | (?:(?<![\w.])[-+])?\d+(?:[.,:]\d+)*(?:[eE][-+]?\d+)?
    """,
    re.VERBOSE,
)
_LIST = re.compile(r"#(?:, ?#)+")

_OURS = re.split(r"core[\/]scoring[\/]", __file__)[0]
_EXAMPLES = f"{_OURS}examples"  # which are written as a user's pipeline is
_STANDARD = sysconfig.get_path("stdlib")
_INSTALLED = re.compile(r"[\\/](?:site|dist)-packages[\\/]")


def fingerprint(failure: Failure) -> str:
    """Code, stage, message without its values, and where the exception was raised, as 16 hexadecimal digits."""
    error = failure.exception
    place = "" if error is None else site(error.__traceback__)
    return digest(failure.code, ERROR_CODES[failure.code].stage, normalised(failure.message), place)


@lru_cache(1000)  # failures of one cause mostly say the same
def normalised(message: str) -> str:
    """A message without its values: numbers, quoted texts, ids, hashes and addresses, alone or in a list, are #.

    >>> normalised("order 4711 of 'ann' took 1.5e3 ms, not [10, 20]")
    'order # of # took # ms, not [#]'
    """
    return _LIST.sub("#", _VALUES.sub("#", message[:READ]))


def site(traceback: TracebackType | None) -> str:
    """File and function of the innermost frame that is the user's own, else of the innermost at all.

    There is no line number in it, so that an edit elsewhere in the file does not split what belongs together.
    """
    last = own = None
    while traceback is not None:
        last = traceback.tb_frame.f_code
        if _is_own(last.co_filename):
            own = last
        traceback = traceback.tb_next
    code = own or last
    return "" if code is None else _name(code)


def digest(*parts: str) -> str:
    """A short hash of texts."""
    return blake2b("\0".join(parts).encode("utf-8", "replace"), digest_size=8).hexdigest()


def _is_own(file: str) -> bool:
    """Whether a file is neither ours, nor Python's, nor an installed package's."""
    if file.startswith(_OURS):
        return file.startswith(_EXAMPLES)
    return not (file.startswith((_STANDARD, "<")) or _INSTALLED.search(file))


def _name(code: CodeType) -> str:
    file = re.split(r"[\\/]", code.co_filename)[-1]
    return f"{file}:{code.co_qualname}"
