"""Warnings about a simulation as a whole, which come before its outcomes."""

from collections.abc import Iterator

from stream_app.core.reading.time_units import SUSPICION, UNIT_REMEDY
from stream_app.formatting import counted, duration
from stream_app.offline.simulation import NOT_LEARNED, FailureCause, Simulation
from stream_app.offline.timeline import LineKind


def simulation_warnings(simulation: Simulation) -> list[str]:
    """Return what makes the other results of a simulation meaningless, one sentence each."""
    return [
        *_no_label_joined(simulation),
        *_nothing_learned(simulation),
        *_units(simulation),
        *_disorder(simulation),
        *_jump(simulation),
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
        yield (
            f"{counted(simulation.disordered, 'event')} come after one whose time is later by "
            f"more than allowed_lateness: {late:,} are too late, and {unknown:,} labels found no "
            "event. Sort the file by event time (`stream-app train --sort` does), and check that "
            "no event has a wrong, later time"
        )


def _jump(simulation: Simulation) -> Iterator[str]:
    late = simulation.engine.record_counts.dead["event-too-late"]
    jump = simulation.largest_jump
    if late and jump is not None:
        by = duration(jump.milliseconds / 1000)
        yield (
            f"The event in line {jump.line:,} moved event time ahead by {by} at once, more than "
            f"horizon + allowed_lateness; {counted(late, 'event')} came too late. If its time is "
            "wrong, correct it: the scorers would lose the later events too"
        )
