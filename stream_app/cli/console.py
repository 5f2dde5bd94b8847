"""Standard output for tables; apart from the other options, because workers need no tables."""

import shutil
import sys

from rich.console import Console

# Columns of an output that is not a terminal.
_FILE_COLUMNS = 200


def report_console() -> Console:
    """Return standard output for tables: as wide as the terminal, else 200 columns."""
    width = None if sys.stdout.isatty() else shutil.get_terminal_size((_FILE_COLUMNS, 0)).columns
    return Console(highlight=False, width=width)
