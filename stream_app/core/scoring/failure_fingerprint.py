"""Fingerprint of a failure: the same for all failures with the same cause.

It covers the error code, the stage, the place in the user's code, and the message without values.
"""

import re
import sysconfig
from functools import lru_cache
from hashlib import blake2b
from types import CodeType, TracebackType

from stream_app.error_codes import ERROR_CODES
from stream_app.records import Failure

# Only this much of a message is read, in characters.
MAX_READ = 1000

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

_OWN_FOLDER = re.split(r"core[\/]scoring[\/]", __file__)[0]
# The examples are written like a user's pipeline, so they count as the user's code.
_EXAMPLES = f"{_OWN_FOLDER}examples"
_STANDARD_LIBRARY = sysconfig.get_path("stdlib")
_INSTALLED = re.compile(r"[\\/](?:site|dist)-packages[\\/]")


def fingerprint(failure: Failure) -> str:
    """Return the fingerprint of a failure, 16 hexadecimal digits."""
    error = failure.exception
    place = "" if error is None else raised_in(error.__traceback__)
    return digest(failure.code, ERROR_CODES[failure.code].stage, normalized(failure.message), place)


# Most failures with the same cause have the same message.
@lru_cache(1000)
def normalized(message: str) -> str:
    """Replace numbers, quoted texts, ids, hashes, addresses and lists of them by #.

    >>> normalized("order 4711 of 'ann' took 1.5e3 ms, not [10, 20]")
    'order # of # took # ms, not [#]'
    """
    return _LIST.sub("#", _VALUES.sub("#", message[:MAX_READ]))


def raised_in(traceback: TracebackType | None) -> str:
    """Return file and function of the innermost frame in the user's code, else of any.

    The line number is left out: an edit elsewhere in the file must not change the fingerprint.
    """
    last = own = None
    while traceback is not None:
        last = traceback.tb_frame.f_code
        if _is_user_code(last.co_filename):
            own = last
        traceback = traceback.tb_next
    code = own or last
    return "" if code is None else _name(code)


def digest(*parts: str) -> str:
    """Return a hash of texts, 16 hexadecimal digits."""
    return blake2b("\0".join(parts).encode("utf-8", "replace"), digest_size=8).hexdigest()


def _is_user_code(file: str) -> bool:
    """Return True if a file is not of this package, Python or an installed package."""
    if file.startswith(_OWN_FOLDER):
        return file.startswith(_EXAMPLES)
    return not (file.startswith((_STANDARD_LIBRARY, "<")) or _INSTALLED.search(file))


def _name(code: CodeType) -> str:
    file = re.split(r"[\\/]", code.co_filename)[-1]
    return f"{file}:{code.co_qualname}"
