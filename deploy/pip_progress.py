"""Runs `pip install` and counts the packages on standard error, for a person who waits.

Usage: `python deploy/pip_progress.py [option of pip install ...] -r FILE`

Runs in the Python of the new environment, before anything else is installed.
"""

import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

# Seconds between two lines of an output that is not a terminal.
_INTERVAL = 5.0


def main(arguments: Sequence[str]) -> int:
    """Install, and return pip's exit code."""
    requirements = Path(arguments[arguments.index("-r") + 1]).read_text(encoding="utf-8")
    total = len(re.findall(r"^[A-Za-z0-9][^\s=]*==", requirements, re.MULTILINE))
    command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", *arguments]
    count, progress = 0, _Progress()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as pip:
        for line in pip.stdout or ():
            found = re.match(
                r"(?:Collecting|Requirement already satisfied:|Ignoring) ([^\s=:]+)", line
            )
            if found:
                count += 1
                progress.show(f"{count} of {total} packages: {found[1]}")
            elif line.startswith("Installing collected packages"):
                progress.show(f"{count} of {total} packages are fetched; unpacking them", last=True)
    progress.end()
    return pip.returncode


class _Progress:
    """One line that is rewritten on a terminal, else a line every few seconds."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._shown = 0.0

    def show(self, text: str, *, last: bool = False) -> None:
        if self._terminal:
            sys.stderr.write(f"\r\033[K{text}")
            sys.stderr.flush()
        elif last or time.monotonic() - self._shown >= _INTERVAL:
            sys.stderr.write(f"{text}\n")
            self._shown = time.monotonic()

    def end(self) -> None:
        if self._terminal:
            sys.stderr.write("\n")


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
