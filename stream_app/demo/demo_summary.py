"""Summary of a demo run, and verification that no event was lost or duplicated."""

from collections.abc import Mapping
from statistics import quantiles
from typing import Any

from stream_app.demo.collector import Collector
from stream_app.errors import VerificationError


def summarise(observer: Collector, produced: Mapping[str, int], seconds: float) -> dict[str, Any]:
    """Return the results of a run.

    Counts are those of the collector; duplicates are those that the scorers count.

    Args:
        observer: collector of the run.
        produced: number of records sent, by topic.
        seconds: duration of the run.
    """
    counts, champion, baselines = observer.record_counts, observer.champion, observer.task.baselines
    metrics = observer.metrics()
    stale = observer.staleness_hours() or [0.0]
    return {
        "produced": produced["raw"],
        "labels": produced["labels"],
        "scored": len(observer.scored),
        "dead_lettered": {
            kind: dict(sorted(codes.items())) for kind, codes in observer.dead.items()
        },
        "duplicates": {"raw": counts.duplicates, "labels": counts.label_duplicates},
        "awaiting_label": counts.pending,
        "expired": counts.expired,
        "labels_waiting": counts.waiting,
        "labels_expired": counts.label_expired,
        "learned": champion.learned if champion else 0,
        "model": {"name": champion.name, "version": champion.version} if champion else None,
        "staleness": {
            "unit": "hours of event time",
            "max": round(max(stale), 2),
            "median": round(quantiles([*stale, *stale], n=2)[0], 2),
        },
        "metrics": {
            name: round(value, 4) for name, value in metrics.items() if name not in baselines
        },
        "baselines": {
            name: round(value, 4) for name, value in metrics.items() if name in baselines
        },
        "alarms": alarm_counts(observer),
        "events_per_second": round(produced["raw"] / seconds, 1),
        "seconds": round(seconds, 1),
    }


def alarm_counts(observer: Collector) -> dict[str, int]:
    """Return the number of alarms by kind and name."""
    counts: dict[str, int] = {}
    for alarm in observer.alarms:
        name = f"{alarm['kind']}/{alarm['name']}"
        counts[name] = counts.get(name, 0) + 1
    return dict(sorted(counts.items()))


def verify(summary: Mapping[str, Any], observer: Collector) -> None:
    """Verify by two independent counts that every record has exactly one outcome.

    Raises:
        VerificationError: the counts differ.
    """
    counts, dead = (
        observer.record_counts,
        {kind: codes.total() for kind, codes in observer.dead.items()},
    )
    equations = {
        "produced = scored + dead raw + duplicates raw": (
            summary["produced"],
            summary["scored"] + dead["raw"] + summary["duplicates"]["raw"],
        ),
        "scored = learned + awaiting + expired": (
            summary["scored"],
            summary["learned"] + summary["awaiting_label"] + summary["expired"],
        ),
        "labels = learned + waiting + duplicates + expired + dead": (
            summary["labels"],
            summary["learned"]
            + summary["labels_waiting"]
            + summary["duplicates"]["labels"]
            + summary["labels_expired"]
            + dead["labels"],
        ),
        "every event scored once": (summary["scored"], len(observer.scored_ids)),
        "scored topic = scorers' counts": (summary["scored"], counts.scored),
        "dead letters = scorers' counts": (
            sum(dead.values()),
            counts.dead.total() + counts.label_dead.total(),
        ),
        "examples topic = scorers' counts": (len(observer.examples), counts.joined),
    }
    wrong = [
        f"{name}: {left} != {right}" for name, (left, right) in equations.items() if left != right
    ]
    if wrong:
        raise VerificationError(
            "; ".join(wrong), "Keep the data folder and report it: records were lost or duplicated"
        )
