"""Columns that would tell the label: they are known only with the outcome, or nearly equal it."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from stream_app.starter.column_profiles import Column

# Rows with a label that a judgement needs.
_MIN_ROWS = 50
# A column alone is rarely this good.
_ROC_AUC = 0.97
_CORRELATION = 0.98
_ACCURACY = 0.995
# Share of the rows without a label in which a column is missing, and of the others in which not.
_TOGETHER = 0.99
_MIN_UNLABELLED = 10
_NUMBERS = ("integer", "number")


def leak_reason(column: Column, label: Column, positive: Any = None) -> str | None:
    """Return why a column seems to be known only with the label, None if it does not.

    Args:
        column: column that might be a feature.
        label: column of the label.
        positive: value of the label that means true, None if there is none.
    """
    return _missing_together(column, label) or _tells(column, label, positive)


def _missing_together(column: Column, label: Column) -> str | None:
    missing = Counter(
        (value is None, truth is None)
        for value, truth in zip(column.values, label.values, strict=True)
    )
    unlabelled = missing[True, True] + missing[False, True]
    labelled = missing[True, False] + missing[False, False]
    if (
        unlabelled >= _MIN_UNLABELLED
        and missing[True, True] >= _TOGETHER * unlabelled
        and missing[False, False] >= _TOGETHER * labelled
    ):
        return f"it is missing where {label.name} is, so it seems to be known only with it"
    return None


def _tells(column: Column, label: Column, positive: Any) -> str | None:
    pairs = [
        (value, truth)
        for value, truth in zip(column.values, label.values, strict=True)
        if value is not None and truth is not None
    ]
    if len(pairs) < _MIN_ROWS:
        return None
    numeric = column.type in _NUMBERS
    if numeric and positive is not None:
        area = _roc_auc([(value, truth == positive) for value, truth in pairs])
        if max(area, 1 - area) >= _ROC_AUC:
            return f"alone it tells {label.name} (ROC AUC {max(area, 1 - area):.3f})"
    elif numeric and label.type in _NUMBERS:
        correlation = abs(_correlation(pairs))
        if correlation >= _CORRELATION:
            return f"alone it tells {label.name} (correlation {correlation:.3f})"
    elif column.distinct <= len(pairs) / 20 and label.type not in ("number",):
        accuracy, share = _accuracy(pairs)
        if accuracy >= _ACCURACY > share:
            return f"alone it tells {label.name} ({accuracy:.1%} of the rows)"
    return None


def _roc_auc(pairs: Sequence[tuple[Any, bool]]) -> float:
    """Return the share of pairs of a positive and a negative that the value orders.

    >>> _roc_auc([(1, False), (2, False), (2, True), (3, True)])
    0.875
    """
    positives, negatives = Counter[Any](), Counter[Any]()
    for value, truth in pairs:
        (positives if truth else negatives)[value] += 1
    total = positives.total() * negatives.total()
    if not total:
        return 0.5
    below, area = 0, 0.0
    for value in sorted(positives | negatives):
        area += positives[value] * (below + negatives[value] / 2)
        below += negatives[value]
    return area / total


def _correlation(pairs: Sequence[tuple[float, float]]) -> float:
    """Return Pearson's correlation, 0 if a side is constant."""
    count = len(pairs)
    mean_x, mean_y = sum(x for x, _ in pairs) / count, sum(y for _, y in pairs) / count
    both = sum((x - mean_x) * (y - mean_y) for x, y in pairs)
    x2, y2 = sum((x - mean_x) ** 2 for x, _ in pairs), sum((y - mean_y) ** 2 for _, y in pairs)
    return both / (x2 * y2) ** 0.5 if x2 > 0 and y2 > 0 else 0.0


def _accuracy(pairs: Sequence[tuple[Any, Any]]) -> tuple[float, float]:
    """Return the accuracy of the most frequent label for each value, and without the value."""
    counts: dict[Any, Counter[Any]] = defaultdict(Counter)
    for value, truth in pairs:
        counts[value][truth] += 1
    total = sum(counts.values(), Counter[Any]())
    right = sum(max(one.values()) for one in counts.values())
    return right / len(pairs), max(total.values()) / len(pairs)
