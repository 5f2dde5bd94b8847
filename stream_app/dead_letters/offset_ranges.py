"""A set of offsets of one partition, kept and written as runs: a hundred thousand of them fit into one record."""

import json
import zlib
from base64 import b64decode, b64encode
from bisect import bisect_right
from collections.abc import Iterable
from itertools import accumulate, pairwise


class OffsetRanges:
    """Ascending offsets as `starts` (included) and `ends` (excluded) of what is consecutive."""

    __slots__ = ("ends", "starts")

    def __init__(self, starts: list[int], ends: list[int]) -> None:
        self.starts = starts
        self.ends = ends

    @classmethod
    def of(cls, offsets: Iterable[int]) -> "OffsetRanges":
        """From offsets in any order.

        >>> runs = OffsetRanges.of([7, 3, 4, 5])
        >>> runs.starts, runs.ends, len(runs), 5 in runs, 6 in runs
        ([3, 7], [6, 8], 4, True, False)
        """
        ordered = sorted(set(offsets))
        breaks = [(before, after) for before, after in pairwise(ordered) if after != before + 1]
        if not ordered:
            return cls([], [])
        return cls(
            [ordered[0], *(after for _, after in breaks)],
            [*(end + 1 for end, _ in breaks), ordered[-1] + 1],
        )

    def __len__(self) -> int:
        return sum(self.ends) - sum(self.starts)

    def __contains__(self, offset: int) -> bool:
        found = bisect_right(self.starts, offset) - 1
        return found >= 0 and offset < self.ends[found]

    def before(self, offset: int) -> "OffsetRanges":
        """Those below an offset.

        >>> OffsetRanges([3, 7], [6, 8]).before(5).ends
        [5]
        """
        count = bisect_right(self.starts, offset - 1)
        return OffsetRanges(self.starts[:count], [min(end, offset) for end in self.ends[:count]])

    def after(self, offset: int) -> "OffsetRanges":
        """Those from an offset on.

        >>> OffsetRanges([3, 7], [6, 8]).after(5).starts
        [5, 7]
        """
        first = bisect_right(self.ends, offset)
        return OffsetRanges(
            [max(start, offset) for start in self.starts[first:]], self.ends[first:]
        )

    def encode(self) -> str:
        """As text: the distances between the bounds, compressed.

        >>> runs = OffsetRanges([3, 7], [6, 8])
        >>> OffsetRanges.decode(runs.encode()).ends
        [6, 8]
        """
        bounds = [bound for run in zip(self.starts, self.ends, strict=True) for bound in run]
        distances = [after - before for before, after in pairwise([0, *bounds])]
        return b64encode(
            zlib.compress(json.dumps(distances, separators=(",", ":")).encode(), 9)
        ).decode()

    @classmethod
    def decode(cls, text: str) -> "OffsetRanges":
        """From `encode`."""
        bounds = list(accumulate(json.loads(zlib.decompress(b64decode(text)))))
        return cls(bounds[::2], bounds[1::2])
