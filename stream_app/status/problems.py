"""What is wrong with the machinery, in plain words, the gravest first."""

from collections.abc import Iterator, Sequence

from stream_app.formatting import duration
from stream_app.status.status_model import (
    InputStatus,
    ModelStatus,
    PartitionState,
    RecordCountTotals,
    RoleStatus,
)

BEHIND_SECONDS = 60.0
"""A role that is further behind than this is in trouble."""
FULL_SHARE = 0.9
"""Of the state's limit; beyond the limit the oldest predictions expire early."""


def find_problems(
    roles: Sequence[RoleStatus],
    inputs: Sequence[InputStatus],
    model: ModelStatus | None,
    books: RecordCountTotals,
    state: Sequence[PartitionState],
) -> tuple[str, ...]:
    """All that is wrong, one line each."""
    return (
        *_roles(roles),
        *_partitions(roles, inputs),
        *_behind(inputs),
        *_model(roles, model),
        *_books(books),
        *_state(state),
    )


def _roles(roles: Sequence[RoleStatus]) -> Iterator[str]:
    """The monitor may be left out, and is missed only once it has run."""
    for role in roles:
        if not role.running and (role.started or role.role != "monitor"):
            yield f"no {role.role} worker is running"
        for worker in role.workers:
            if worker.state == "not ready":
                yield f"{worker.name} is not ready: {', '.join(worker.reasons) or 'it does not say why'}"
            elif worker.state == "silent":
                yield f"{worker.name} (process {worker.pid}) does not answer on its health port"
            elif worker.state == "ended" and worker.member:
                yield f"{worker.name} has died; its partitions go to others when its session times out"


def _partitions(roles: Sequence[RoleStatus], inputs: Sequence[InputStatus]) -> Iterator[str]:
    running = {role.role for role in roles if role.running}
    for one in inputs:
        if one.role in running and one.worker is None:
            yield f"{one.topic}[{one.partition}] is assigned to no {one.role} worker"
        if one.lost:
            yield f"{one.lost:,} records of {one.topic}[{one.partition}] were deleted before {one.role} had read them"


def _behind(inputs: Sequence[InputStatus]) -> Iterator[str]:
    for role in dict.fromkeys(one.role for one in inputs):
        worst = max((one for one in inputs if one.role == role), key=lambda one: one.lag_seconds)
        if worst.lag_seconds > BEHIND_SECONDS:
            behind = f"{worst.lag_records:,} records, the oldest {duration(worst.lag_seconds)} old"
            yield f"{role} is behind in {worst.topic}[{worst.partition}]: {behind}"


def _model(roles: Sequence[RoleStatus], model: ModelStatus | None) -> Iterator[str]:
    if model is None and any(role.started for role in roles):
        yield "no model version has been published"


def _books(books: RecordCountTotals) -> Iterator[str]:
    if not books.balanced:
        yield "the books do not balance: please report this, and keep the topics"


def _state(state: Sequence[PartitionState]) -> Iterator[str]:
    for one in state:
        if one.entries is not None and one.entries >= FULL_SHARE * one.limit:
            yield (
                f"the state of partition {one.partition} is {one.entries / one.limit:.0%} full: beyond "
                f"{one.limit:,} entries the oldest predictions expire early"
            )
