"""What counts as wrong, and what does not."""

from typing import Any

from stream_app.status.problems import BEHIND_SECONDS, find_problems
from stream_app.status.status_model import (
    InputStatus,
    PartitionState,
    RecordCountTotals,
    RoleStatus,
    WorkerStatus,
)

BOOKS = RecordCountTotals(0, 0, 0, 0, 0, {}, 0, 0, 0, 0, 0, {}, 0, 0, 0, True, 0)


def worker(state: Any, *reasons: str, member: bool = True) -> WorkerStatus:
    return WorkerStatus("score-0", state, reasons, member, "", (0,), pid=7)


def role(name: str, *workers: WorkerStatus, started: bool = True) -> RoleStatus:
    return RoleStatus(name, f"p-{name}", bool(workers), started, workers)


def reads(**changes: Any) -> InputStatus:
    fields: dict[str, Any] = {
        "role": "score", "topic": "p.raw", "partition": 0, "worker": "score-0", "position": 5, "end": 9,
        "lag_records": 4, "lag_seconds": 1.0, "lost": 0,
    }  # fmt: skip
    return InputStatus(**fields | changes)


def problems(
    *roles: RoleStatus,
    inputs: tuple[InputStatus, ...] = (),
    books: RecordCountTotals = BOOKS,
    state: tuple[PartitionState, ...] = (),
) -> tuple[str, ...]:
    found = find_problems(roles, inputs, None, books, state)
    return tuple(problem for problem in found if problem != "no model version has been published")


def test_a_monitor_is_missed_only_once_it_has_run() -> None:
    assert problems(role("monitor", started=False)) == ()
    assert problems(role("monitor")) == ("no monitor worker is running",)
    assert problems(role("learn", started=False)) == ("no learn worker is running",)


def test_workers_that_are_there_and_do_nothing() -> None:
    assert problems(role("score", worker("ready"))) == ()
    assert problems(role("score", worker("not ready", "restoring state"))) == (
        "score-0 is not ready: restoring state",
    )
    assert problems(role("score", worker("silent")))[0].startswith(
        "score-0 (process 7) does not answer"
    )
    assert problems(role("score", worker("ended"))) == (
        "score-0 has died; its partitions go to others when its session times out",
    )
    assert problems(role("score", worker("running"), worker("ended", member=False))) == ()


def test_partitions_that_nobody_reads_or_that_lost_records() -> None:
    score = role("score", worker("ready"))
    assert problems(score, inputs=(reads(),)) == ()
    assert problems(score, inputs=(reads(worker=None),)) == (
        "p.raw[0] is assigned to no score worker",
    )
    assert problems(score, inputs=(reads(lost=7),)) == (
        "7 records of p.raw[0] were deleted before score had read them",
    )


def test_the_furthest_behind_is_named() -> None:
    late = reads(partition=1, lag_seconds=BEHIND_SECONDS + 300, lag_records=1234)
    assert problems(role("score", worker("ready")), inputs=(reads(), late)) == (
        "score is behind in p.raw[1]: 1,234 records, the oldest 6 min old",
    )
    assert (
        problems(role("score", worker("ready")), inputs=(reads(lag_seconds=BEHIND_SECONDS),)) == ()
    )


def test_books_and_state() -> None:
    unbalanced = RecordCountTotals(0, 1, 0, 0, 0, {}, 0, 0, 0, 0, 0, {}, 0, 0, 0, False, 0)
    assert problems(books=unbalanced) == (
        "the books do not balance: please report this, and keep the topics",
    )
    full = PartitionState(3, 950, 1000, None, None, None)
    assert problems(state=(full,))[0].startswith("the state of partition 3 is 95% full")
    assert (
        problems(
            state=(
                PartitionState(3, 899, 1000, None, None, None),
                PartitionState(3, None, 1, *[None] * 3),
            )
        )
        == ()
    )
