"""Sets of offsets as ranges: a hundred thousand offsets fit into one Kafka record."""

import json
import zlib
from base64 import b64decode, b64encode
from bisect import bisect_right
from collections.abc import Iterable
from itertools import accumulate, pairwise


class OffsetRanges:
    """Set of offsets of one partition, stored as ascending ranges without gaps.

    Attributes:
        starts: first offset of each range, included.
        ends: end of each range, excluded.
    """

    __slots__ = ("ends", "starts")

    def __init__(self, starts: list[int], ends: list[int]) -> None:
        self.starts = starts
        self.ends = ends

    @classmethod
    def of(cls, offsets: Iterable[int]) -> "OffsetRanges":
        """Return the ranges of offsets given in any order.

        >>> ranges = OffsetRanges.of([7, 3, 4, 5])
        >>> ranges.starts, ranges.ends, len(ranges), 5 in ranges, 6 in ranges
        ([3, 7], [6, 8], 4, True, False)
        """
        ordered = sorted(set(offsets))
        if not ordered:
            return cls([], [])
        gaps = [(before, after) for before, after in pairwise(ordered) if after != before + 1]
        return cls(
            [ordered[0], *(after for _, after in gaps)],
            [*(before + 1 for before, _ in gaps), ordered[-1] + 1],
        )

    def __len__(self) -> int:
        return sum(self.ends) - sum(self.starts)

    def __contains__(self, offset: int) -> bool:
        index = bisect_right(self.starts, offset) - 1
        return index >= 0 and offset < self.ends[index]

    def before(self, offset: int) -> "OffsetRanges":
        """Return the offsets below `offset`.

        >>> OffsetRanges([3, 7], [6, 8]).before(5).ends
        [5]
        """
        count = bisect_right(self.starts, offset - 1)
        return OffsetRanges(self.starts[:count], [min(end, offset) for end in self.ends[:count]])

    def from_offset(self, offset: int) -> "OffsetRanges":
        """Return the offsets from `offset` on, included.

        >>> OffsetRanges([3, 7], [6, 8]).from_offset(5).starts
        [5, 7]
        """
        first = bisect_right(self.ends, offset)
        starts = [max(start, offset) for start in self.starts[first:]]
        return OffsetRanges(starts, self.ends[first:])

    def encode(self) -> str:
        """Return the set as text: differences between the bounds, compressed, in base64.

        >>> ranges = OffsetRanges([3, 7], [6, 8])
        >>> OffsetRanges.decode(ranges.encode()).ends
        [6, 8]
        """
        bounds = [bound for pair in zip(self.starts, self.ends, strict=True) for bound in pair]
        differences = [after - before for before, after in pairwise([0, *bounds])]
        content = json.dumps(differences, separators=(",", ":")).encode()
        return b64encode(zlib.compress(content, 9)).decode()

    @classmethod
    def decode(cls, text: str) -> "OffsetRanges":
        """Return the set that `encode` wrote."""
        bounds = list(accumulate(json.loads(zlib.decompress(b64decode(text)))))
        return cls(bounds[::2], bounds[1::2])
