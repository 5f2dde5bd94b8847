"""Where a process was when it crashed or hung, as one place in the pipeline's code; never a value."""

import re
import sysconfig
from collections.abc import Iterable
from pathlib import Path
from traceback import extract_tb

_FRAME = re.compile(r'^  File "(.+)", line (\d+) in (.+)$')
_LIBRARIES = tuple(
    {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
)
_OURS = str(Path(__file__).parents[2])

Frame = tuple[str, int, str]
"""File, line and function."""


def died_at(trace: Path) -> str:
    """What `faulthandler` wrote of the thread that was running, as `at <file>:<line> in <function>`, or nothing."""
    try:
        lines = trace.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    current = next(
        (number for number, line in enumerate(lines) if line.startswith("Current thread")),
        len(lines),
    )
    frames: list[Frame] = []
    for line in lines[current + 1 :]:
        found = _FRAME.match(line)
        if found is None:
            break
        frames.append((found[1], int(found[2]), found[3]))
    return _place(frames)


def raised_at(error: BaseException) -> str:
    """The same of an exception."""
    return _place(
        [
            (frame.filename, frame.lineno or 0, frame.name)
            for frame in reversed(extract_tb(error.__traceback__))
        ]
    )


def _place(frames: Iterable[Frame]) -> str:
    """The innermost frame that is the user's, for that is where to look; else the innermost."""
    frames = list(frames)
    theirs = (frame for frame in frames if not frame[0].startswith((*_LIBRARIES, _OURS, "<")))
    file, line, function = next(theirs, frames[0] if frames else ("", 0, ""))
    return f"at {Path(file).name}:{line} in {function}" if file else ""
