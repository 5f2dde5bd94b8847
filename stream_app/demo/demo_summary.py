"""What a demo run comes to, and whether its books balance."""

from collections.abc import Mapping
from statistics import quantiles
from typing import Any

from stream_app.demo.collector import Collector
from stream_app.errors import VerificationError


def summarise(observer: Collector, produced: Mapping[str, int], seconds: float) -> dict[str, Any]:
    """The run in numbers; counts are what a consumer of the topics sees, duplicates are the scorers' own books."""
    books, champion, baselines = observer.tallies, observer.champion, observer.task.baselines
    metrics = observer.metrics()
    stale = observer.staleness_hours() or [0.0]
    return {
        "produced": produced["raw"],
        "labels": produced["labels"],
        "scored": len(observer.scored),
        "dead_lettered": {
            kind: dict(sorted(codes.items())) for kind, codes in observer.dead.items()
        },
        "duplicates": {"raw": books.duplicates, "labels": books.label_duplicates},
        "awaiting_label": books.pending,
        "expired": books.expired,
        "labels_waiting": books.waiting,
        "labels_expired": books.label_expired,
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
        "alarms": alarms(observer),
        "events_per_second": round(produced["raw"] / seconds, 1),
        "seconds": round(seconds, 1),
    }


def alarms(observer: Collector) -> dict[str, int]:
    """How often each alarm was raised, by kind and name."""
    counts: dict[str, int] = {}
    for alarm in observer.alarms:
        name = f"{alarm['kind']}/{alarm['name']}"
        counts[name] = counts.get(name, 0) + 1
    return dict(sorted(counts.items()))


def verify(summary: Mapping[str, Any], observer: Collector) -> None:
    """Raise VerificationError unless every record is accounted for exactly once, by two independent counts."""
    books, dead = observer.tallies, {kind: codes.total() for kind, codes in observer.dead.items()}
    found = {
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
        "scored topic = scorers' books": (summary["scored"], books.scored),
        "dead letters = scorers' books": (
            sum(dead.values()),
            books.dead.total() + books.label_dead.total(),
        ),
        "examples topic = scorers' books": (len(observer.examples), books.joined),
    }
    wrong = [f"{what}: {left} != {right}" for what, (left, right) in found.items() if left != right]
    if wrong:
        raise VerificationError(
            "; ".join(wrong), "Keep the data folder and report it: records were lost or doubled"
        )
