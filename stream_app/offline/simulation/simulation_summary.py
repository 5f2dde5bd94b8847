"""What a trial comes to, as plain data."""

from collections import Counter
from dataclasses import asdict
from typing import Any

from stream_app.formatting import iso_time
from stream_app.offline.simulation.simulation import Simulation
from stream_app.offline.simulation.stage_timing import microseconds


def summarise(trial: Simulation, seconds: float, *, complete: bool) -> dict[str, Any]:
    """The trial as it stands; `complete` is False if it was broken off.

    Of events and labels alike, `read` is the sum of all outcomes.
    """
    engine = trial.engine
    pipeline, books, learner = engine.pipeline, engine.books, engine.learner
    values = {name: round(value, 4) for name, value in engine.metrics().items()}
    return {
        "kind": "summary",
        "pipeline": pipeline.name,
        "complete": complete,
        "events": {
            "read": trial.read["event"],
            "scored": books.scored,
            "duplicates": books.duplicates,
            "retrying": books.retrying,
            "dead_lettered": dict(books.dead.most_common()),
            "not_sent": trial.unsent["event"],
        },
        "labels": {
            "read": trial.read["label"],
            "joined": books.joined,
            "waiting": books.waiting,
            "duplicates": books.label_duplicates,
            "expired": books.label_expired,
            "dead_lettered": dict(books.label_dead.most_common()),
            "not_sent": trial.unsent["label"],
        },
        "degraded": books.degraded,
        "predictions": {"joined": books.joined, "pending": books.pending, "expired": books.expired},
        "label_coverage": round(books.joined / books.scored, 4) if books.scored else None,
        "label_delay_hours": {
            name: round(delay / 3_600_000, 2)
            for name, delay in engine.label_delays.summary().items()
        },
        "causes": [
            asdict(cause) for cause in sorted(trial.causes.values(), key=lambda cause: -cause.count)
        ],
        "model": {
            "version": engine.model.version,
            "learned": learner.learned.examples,
            "unlearnable": learner.unlearnable,
        },
        "metrics": {name: values[name] for name in pipeline.metrics if name in values},
        "baselines": {
            name: value for name, value in values.items() if name in engine.task.baselines
        },
        "windows": _windows(engine.monitoring),
        "alarms": dict(
            Counter(f"{m['kind']}/{m['name']}" for m in engine.monitoring if m["breached"])
        ),
        "microseconds": {
            **trial.timer.microseconds(),
            "learn": microseconds(engine.learning_times),
        },
        "seconds": round(seconds, 2),
    }


def _windows(measurements: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The learner's reports, one row per window of label time."""
    rows: dict[int, dict[str, Any]] = {}
    for measured in measurements:
        if measured["kind"] == "performance":
            window = measured["window"]
            row = {
                "start": iso_time(window["start"]),
                "end": iso_time(window["end"]),
                "n": measured["n"],
            }
            row = rows.setdefault(window["start"], row)
            row[measured["name"]] = (
                None if measured["value"] is None else round(measured["value"], 4)
            )
    return list(rows.values())
