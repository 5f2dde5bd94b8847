"""Area under the ROC curve, exact as long as that is affordable."""

from dataclasses import dataclass, field

import numpy as np

BINS = 4096


@dataclass(slots=True)
class RocAuc:
    """Scores by label; above `limit` scores they are folded into 4,096 equal bins, to stay bounded.

    Ties share their mean rank, so folding only makes ties of scores that differ by less than 1/4096.
    """

    limit: int = 50_000
    positives: list[float] = field(default_factory=list)
    negatives: list[float] = field(default_factory=list)
    folded: tuple[list[int], list[int]] | None = None

    def add(self, label: bool, score: float) -> None:
        """Note a score in [0, 1] and what came true."""
        (self.positives if label else self.negatives).append(score)
        if len(self.positives) + len(self.negatives) > self.limit:
            self._fold()

    def merge(self, other: "RocAuc") -> None:
        """Note everything that `other` has noted."""
        self.positives += other.positives
        self.negatives += other.negatives
        if other.folded is not None:
            ours = self._fold()
            for mine, theirs in zip(ours, other.folded, strict=True):
                mine[:] = [a + b for a, b in zip(mine, theirs, strict=True)]
        elif len(self.positives) + len(self.negatives) > self.limit:
            self._fold()

    def auc(self) -> float | None:
        """Chance that a positive scores above a negative, ties counting half; None without both.

        Hanley and McNeil (1982), "The meaning and use of the area under a receiver operating characteristic curve".
        """
        if self.folded is not None:
            positives, negatives = (np.asarray(counts, dtype=float) for counts in self._fold())
        else:
            values, index = np.unique(self.positives + self.negatives, return_inverse=True)
            positives = np.bincount(index[: len(self.positives)], minlength=len(values)).astype(
                float
            )
            negatives = np.bincount(index[len(self.positives) :], minlength=len(values)).astype(
                float
            )
        pairs = positives.sum() * negatives.sum()
        below = np.cumsum(negatives) - negatives / 2
        return float(positives @ below / pairs) if pairs else None

    def _fold(self) -> tuple[list[int], list[int]]:
        if self.folded is None:
            self.folded = ([0] * BINS, [0] * BINS)
        for counts, scores in zip(self.folded, (self.positives, self.negatives), strict=True):
            for score in scores:
                counts[min(int(score * BINS), BINS - 1)] += 1
            scores.clear()
        return self.folded
