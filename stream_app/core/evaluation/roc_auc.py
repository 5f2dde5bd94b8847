"""Area under the ROC curve: exact up to a number of scores, binned beyond it."""

from dataclasses import dataclass, field

from stream_app.core.slots_state import SlotsState

BINS = 4096


@dataclass(slots=True)
class RocAuc(SlotsState):
    """Scores by label, of which ROC AUC is computed.

    Beyond `limit` scores they are counted in 4,096 equal bins, which bounds the memory. Ties share
    their mean rank, so binning only makes ties of scores that differ by less than 1/4096.

    Attributes:
        limit: number of scores that are kept exactly.
        positives: exact scores of labels that are True.
        negatives: exact scores of labels that are False.
        bins: counts of the scores by label, None as long as all are exact.
    """

    limit: int = 50_000
    positives: list[float] = field(default_factory=list)
    negatives: list[float] = field(default_factory=list)
    bins: tuple[list[int], list[int]] | None = None

    def add(self, label: bool, score: float) -> None:
        """Add a score in [0, 1] and its label."""
        (self.positives if label else self.negatives).append(score)
        if len(self.positives) + len(self.negatives) > self.limit:
            self._fill_bins()

    def merge(self, other: "RocAuc") -> None:
        """Add all scores of `other`."""
        self.positives += other.positives
        self.negatives += other.negatives
        if other.bins is not None:
            for ours, theirs in zip(self._fill_bins(), other.bins, strict=True):
                ours[:] = [a + b for a, b in zip(ours, theirs, strict=True)]
        elif len(self.positives) + len(self.negatives) > self.limit:
            self._fill_bins()

    def auc(self) -> float | None:
        """Return the probability that a positive scores above a negative, ties counting half.

        None without scores of both labels. Hanley and McNeil (1982), "The meaning and use of the
        area under a receiver operating characteristic curve".
        """
        # Imported when it is needed: numpy costs a command 0.1 s of CPU.
        import numpy as np

        if self.bins is not None:
            positives, negatives = (np.asarray(counts, dtype=float) for counts in self._fill_bins())
        else:
            values, index = np.unique(self.positives + self.negatives, return_inverse=True)
            n, bins = len(self.positives), len(values)
            positives = np.bincount(index[:n], minlength=bins).astype(float)
            negatives = np.bincount(index[n:], minlength=bins).astype(float)
        pairs = positives.sum() * negatives.sum()
        below = np.cumsum(negatives) - negatives / 2
        return float(positives @ below / pairs) if pairs else None

    def _fill_bins(self) -> tuple[list[int], list[int]]:
        if self.bins is None:
            self.bins = ([0] * BINS, [0] * BINS)
        for counts, scores in zip(self.bins, (self.positives, self.negatives), strict=True):
            for score in scores:
                counts[min(int(score * BINS), BINS - 1)] += 1
            scores.clear()
        return self.bins
