"""Summary of a simulation as plain data, with warnings about the simulation as a whole."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from stream_app.core.reading.envelopes import Skipped
from stream_app.core.reading.event_time import SUSPICION, UNIT_REMEDY
from stream_app.formatting import counted, duration, iso_time
from stream_app.offline.proposed_bounds import propose_bounds
from stream_app.offline.simulation import NOT_LEARNED, FailureCause, Simulation
from stream_app.offline.stage_timing import microseconds
from stream_app.offline.timeline import LineKind


def simulation_warnings(simulation: Simulation) -> list[str]:
    """Return what makes the other results of a simulation meaningless, one sentence each."""
    return [
        *_no_label_joined(simulation),
        *_nothing_learned(simulation),
        *_units(simulation),
        *_disorder(simulation),
    ]


def _no_label_joined(simulation: Simulation) -> Iterator[str]:
    read, counts = simulation.read["label"], simulation.engine.record_counts
    if not read or counts.joined:
        return
    labels, cause = counted(read, "label"), _largest_cause(simulation, "label")
    if cause is not None and counts.label_dead.total() + simulation.unsent["label"] == read:
        largest = f"{cause.count:,} as {cause.code}: {cause.message}"
        yield f"No label was joined: all {labels} were rejected, {largest}"
    else:
        yield f"No label was joined, of {labels}"


def _largest_cause(simulation: Simulation, kind: LineKind) -> FailureCause | None:
    causes = [
        cause
        for cause in simulation.causes.values()
        if cause.kind == kind and cause.code != NOT_LEARNED
    ]
    return max(causes, key=lambda cause: cause.count, default=None)


def _nothing_learned(simulation: Simulation) -> Iterator[str]:
    learner = simulation.engine.learner
    if learner.unlearnable and not learner.learned.examples:
        failed = [cause for cause in simulation.causes.values() if cause.code == NOT_LEARNED]
        reason = f": {failed[0].message}" if failed else ""
        yield (
            f"Nothing was learned: the model failed on all of the "
            f"{counted(learner.unlearnable, 'joined label')}{reason}"
        )


def _units(simulation: Simulation) -> Iterator[str]:
    for kind, number in simulation.suspect_times.items():
        if number:
            read = counted(simulation.read[kind], kind)
            yield f"The time of {number:,} of {read} {SUSPICION}. {UNIT_REMEDY}"


def _disorder(simulation: Simulation) -> Iterator[str]:
    counts = simulation.engine.record_counts
    late, unknown = counts.dead["event-too-late"], counts.label_dead["unknown-event"]
    if simulation.disordered and (late or unknown):
        farthest = duration(simulation.order.milliseconds / 1000)
        yield (
            f"{counted(simulation.disordered, 'event')} come after one whose time is later by "
            f"more than allowed_lateness, by up to {farthest}: {late:,} are too late, "
            f"and {unknown:,} labels found no event. Add --sort, or sort the file by event time, "
            "and check that no event has a wrong, later time"
        )


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
            "assumed": counts.assumed,
            "dead_lettered": dict(counts.dead.most_common()),
            "not_sent": simulation.unsent["event"],
            **_skipped(simulation, "event"),
        },
        "labels": {
            "read": simulation.read["label"],
            "joined": counts.joined,
            "waiting": counts.waiting,
            "duplicates": counts.label_duplicates,
            "expired": counts.label_expired,
            "contradicting": counts.contradicting,
            "dead_lettered": dict(counts.label_dead.most_common()),
            "not_sent": simulation.unsent["label"],
            **_skipped(simulation, "label"),
        },
        "warnings": simulation_warnings(simulation),
        "order": {
            "displaced_events": simulation.order.displaced,
            "largest_distance_ms": simulation.order.milliseconds,
            "text": str(simulation.order),
        },
        "proposed_bounds": [
            {**one._asdict(), "line": one.line, "reason": one.reason}
            for one in propose_bounds(pipeline, simulation.sample.records, simulation.schemas)
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
            "not_learned": learner.not_learned,
        },
        "metrics": {name: values[name] for name in pipeline.metrics if name in values},
        "baselines": {
            name: value for name, value in values.items() if name in engine.task.baselines
        },
        "windows": _windows(engine.monitoring),
        "alarms": dict(
            Counter(f"{m['kind']}/{m['name']}" for m in engine.monitoring if m["breached"])
            + Counter(f"alarm/{name}" for name, _ in _opened(engine.alarms))
        ),
        "microseconds": {
            **simulation.timer.microseconds(),
            "learn": microseconds(engine.learning_times),
        },
        "seconds": round(seconds, 2),
    }


def _skipped(simulation: Simulation, kind: LineKind) -> dict[str, int]:
    """Return the counts of records that are left out, which only files of sources have."""
    counts = simulation.skipped[kind]
    names: tuple[tuple[str, Skipped], ...] = (("filtered", "filtered"), ("tombstones", "tombstone"))
    return {name: counts[outcome] for name, outcome in names if counts[outcome]}


def _opened(alarms: list[dict[str, Any]]) -> set[tuple[str, str]]:
    """Return name and id of the alarms that the monitor opened."""
    return {(alarm["name"], alarm["id"]) for alarm in alarms}


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
