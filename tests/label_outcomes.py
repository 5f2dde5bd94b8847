"""Comparison of the records of label outcomes with the record counts of the scorers."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from stream_app.core.scoring.record_counts import RecordCounts


def check_label_outcomes(found: Iterable[Mapping[str, Any]], counts: RecordCounts) -> None:
    """Check that no label has two outcomes, and that there are as many as the counts say.

    Args:
        found: values of `<p>.label_outcomes`.
        counts: counts of all partitions.
    """
    values = list(found)
    positions = Counter((one["partition"], one["offset"]) for one in values)
    assert [position for position, count in positions.items() if count > 1] == []
    assert outcome_counts(values) == label_counts(counts)


def outcome_counts(found: Iterable[Mapping[str, Any]]) -> Counter[str]:
    """Return the number of outcomes of each kind, of dead letters by error code."""
    return Counter(one["error_code"] or one["outcome"] for one in found)


def label_counts(counts: RecordCounts) -> Counter[str]:
    """Return the same numbers according to the record counts."""
    return counts.label_dead + Counter(
        joined=counts.joined - counts.unlearned,
        unlearned=counts.unlearned,
        duplicate=counts.label_duplicates,
        expired=counts.label_expired,
        contradicting=counts.contradicting,
    )
