"""Summary of a simulation as plain data."""

from collections import Counter
from dataclasses import asdict
from typing import Any

from stream_app.formatting import iso_time
from stream_app.offline.proposed_bounds import propose_bounds
from stream_app.offline.simulation import Simulation
from stream_app.offline.simulation_warnings import simulation_warnings
from stream_app.offline.stage_timing import microseconds


def summarise(simulation: Simulation, seconds: float, *, complete: bool) -> dict[str, Any]:
    """Return the summary of a simulation as it stands.

    For events and for labels, `read` is the sum of all outcomes.

    Args:
        simulation: simulation, finished or interrupted between two lines.
        seconds: its duration.
        complete: False if it was interrupted.
    """
    engine = simulation.engine
    pipeline, counts, learner = engine.pipeline, engine.record_counts, engine.learner
    values = {name: round(value, 4) for name, value in engine.metrics().items()}
    return {
        "kind": "summary",
        "pipeline": pipeline.name,
        "complete": complete,
        "events": {
            "read": simulation.read["event"],
            "scored": counts.scored,
            "duplicates": counts.duplicates,
            "retrying": counts.retrying,
            "dead_lettered": dict(counts.dead.most_common()),
            "not_sent": simulation.unsent["event"],
        },
        "labels": {
            "read": simulation.read["label"],
            "joined": counts.joined,
            "waiting": counts.waiting,
            "duplicates": counts.label_duplicates,
            "expired": counts.label_expired,
            "dead_lettered": dict(counts.label_dead.most_common()),
            "not_sent": simulation.unsent["label"],
        },
        "warnings": simulation_warnings(simulation),
        "proposed_bounds": [
            {**one._asdict(), "line": one.line, "reason": one.reason}
            for one in propose_bounds(pipeline, simulation.sample.records)
        ],
        "degraded": counts.degraded,
        "predictions": {
            "joined": counts.joined,
            "pending": counts.pending,
            "expired": counts.expired,
        },
        "label_coverage": round(counts.joined / counts.scored, 4) if counts.scored else None,
        "label_delay_hours": {
            name: round(delay / 3_600_000, 2)
            for name, delay in engine.label_delays.summary().items()
        },
        "causes": [
            asdict(cause)
            for cause in sorted(simulation.causes.values(), key=lambda cause: -cause.count)
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
            **simulation.timer.microseconds(),
            "learn": microseconds(engine.learning_times),
        },
        "seconds": round(seconds, 2),
    }


def _windows(measurements: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the performance measurements, one row per window of label time."""
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
