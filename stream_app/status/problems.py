"""Present problems of workers, topics and model, one sentence each, the most severe first."""

from collections.abc import Iterator, Sequence

from stream_app.formatting import duration
from stream_app.status.status_model import (
    InputStatus,
    ModelStatus,
    PartitionStatus,
    RecordCountTotals,
    RoleStatus,
    WindowStatus,
)

# A role with an older unread record is behind.
BEHIND_SECONDS = 60.0
# Share of the state's limit from which a problem is reported; beyond the limit the oldest
# predictions expire early.
FULL_SHARE = 0.9
# Age of a watermark that a running scorer does not reach.
OLD_WATERMARK_SECONDS = 20 * 60.0


def find_problems(
    roles: Sequence[RoleStatus],
    inputs: Sequence[InputStatus],
    model: ModelStatus | None,
    counts: RecordCountTotals,
    partitions: Sequence[PartitionStatus],
    windows: WindowStatus,
) -> tuple[str, ...]:
    """Return all problems."""
    return (
        *_role_problems(roles),
        *_partition_problems(roles, inputs),
        *_lag_problems(inputs),
        *_model_problems(roles, model),
        *_count_problems(counts),
        *_state_problems(partitions),
        *_window_problems(roles, windows),
    )


def _role_problems(roles: Sequence[RoleStatus]) -> Iterator[str]:
    """Yield problems of workers; a monitor is optional, and missed only once one has run."""
    for role in roles:
        if not role.running and (role.started or role.role != "monitor"):
            yield f"no {role.role} worker is running: start one with `stream-app up`"
        for worker in role.workers:
            if worker.state == "not ready":
                reasons = ", ".join(worker.reasons) or "it gives no reason; see its log"
                yield f"{worker.name} is not ready: {reasons}"
            elif worker.state == "unresponsive":
                yield (
                    f"{worker.name} (process {worker.pid}) does not answer on its health port: "
                    "see its log, and restart it if it hangs"
                )
            elif worker.state == "ended" and worker.member:
                yield (
                    f"{worker.name} has died: its partitions are reassigned when its session "
                    "times out; see its log"
                )


def _partition_problems(
    roles: Sequence[RoleStatus], inputs: Sequence[InputStatus]
) -> Iterator[str]:
    running = {role.role for role in roles if role.running}
    for one in inputs:
        name = f"{one.topic}[{one.partition}]"
        if one.role in running and one.worker is None:
            yield (
                f"{name} is assigned to no {one.role} worker: wait for the rebalance, or see "
                "`stream-app doctor`"
            )
        if one.lost:
            yield (
                f"{one.lost:,} records of {name} were deleted before {one.role} read them: "
                "raise the topic's retention"
            )


def _lag_problems(inputs: Sequence[InputStatus]) -> Iterator[str]:
    # Where the monitor waits, a watermark is the problem.
    read = [one for one in inputs if not one.waiting]
    for role in dict.fromkeys(one.role for one in read):
        worst = max((one for one in read if one.role == role), key=lambda one: one.lag_seconds)
        if worst.lag_seconds > BEHIND_SECONDS:
            yield (
                f"{role} is behind in {worst.topic}[{worst.partition}]: "
                f"{worst.lag_records:,} records, the oldest {duration(worst.lag_seconds)} old; "
                f"see the log of its worker, or add {role} workers"
            )


def _model_problems(roles: Sequence[RoleStatus], model: ModelStatus | None) -> Iterator[str]:
    if model is None and any(role.started for role in roles):
        yield "no model version has been published: start a learner, or see its log"


def _count_problems(counts: RecordCountTotals) -> Iterator[str]:
    if not counts.balanced:
        yield (
            "the record counts do not add up, so an event was lost or duplicated: "
            "report this, and keep the topics"
        )


def _state_problems(partitions: Sequence[PartitionStatus]) -> Iterator[str]:
    for one in partitions:
        if one.entries is not None and one.entries >= FULL_SHARE * one.limit:
            yield (
                f"the state of partition {one.partition} is {one.entries / one.limit:.0%} full, "
                f"and beyond {one.limit:,} entries the oldest predictions expire early: "
                "raise STREAM_APP_WORKER__MAX_STATE_ENTRIES"
            )


def _window_problems(roles: Sequence[RoleStatus], windows: WindowStatus) -> Iterator[str]:
    """Yield a problem for each partition whose scorer does not publish its watermark."""
    if not any(role.running for role in roles if role.role == "monitor"):
        return
    for one in windows.watermarks:
        age = one.age_seconds
        if age is not None and age > OLD_WATERMARK_SECONDS:
            yield (
                f"the watermark of partition {one.partition} is {duration(age)} old, so no window "
                "of the monitor closes: see the log of the partition's scorer"
            )
