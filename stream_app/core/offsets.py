"""Places in the log of examples."""

from typing import NamedTuple


class Offsets(NamedTuple):
    """Examples of the log, from offset `first` to `last` (both inclusive)."""

    first: int
    last: int
