"""Tests which states of workers, topics and record counts are reported as problems."""

from dataclasses import replace
from typing import Any

from stream_app.status.problems import BEHIND_SECONDS, OLD_WATERMARK_SECONDS, find_problems
from stream_app.status.status_model import (
    InputStatus,
    PartitionStatus,
    RecordCountTotals,
    RoleStatus,
    WatermarkStatus,
    WindowStatus,
    WorkerStatus,
)

COUNTS = RecordCountTotals(
    0, 0, 0, 0, 0, 0, 0, {}, 0, 0, 0, 0, 0, {}, 0, 0, 0, 0, 0, 0, 0, 0, {}, True, 0
)
WINDOWS = WindowStatus()


def worker(state: Any, *reasons: str, member: bool = True) -> WorkerStatus:
    return WorkerStatus("score-0", state, reasons, member, "", (0,), pid=7)


def role(name: str, *workers: WorkerStatus, started: bool = True) -> RoleStatus:
    return RoleStatus(name, f"p-{name}", bool(workers), started, workers)


def input_of_scorer(**changes: Any) -> InputStatus:
    fields: dict[str, Any] = {
        "role": "score", "topic": "p.raw", "partition": 0, "worker": "score-0", "position": 5,
        "end": 9, "lag_records": 4, "lag_seconds": 1.0, "lost": 0,
    }  # fmt: skip
    return InputStatus(**fields | changes)


def problems(
    *roles: RoleStatus,
    inputs: tuple[InputStatus, ...] = (),
    counts: RecordCountTotals = COUNTS,
    partitions: tuple[PartitionStatus, ...] = (),
    windows: WindowStatus = WINDOWS,
) -> tuple[str, ...]:
    found = find_problems(roles, inputs, None, counts, partitions, windows)
    return tuple(one for one in found if not one.startswith("no model version has been published"))


def test_a_monitor_is_missed_only_once_it_has_run() -> None:
    assert problems(role("monitor", started=False)) == ()
    assert problems(role("monitor")) == (
        "no monitor worker is running: start one with `stream-app up`",
    )
    assert problems(role("learn", started=False)) == (
        "no learn worker is running: start one with `stream-app up`",
    )


def test_a_worker_that_does_not_work_is_a_problem() -> None:
    assert problems(role("score", worker("ready"))) == ()
    assert problems(role("score", worker("not ready", "restoring state"))) == (
        "score-0 is not ready: restoring state",
    )
    assert problems(role("score", worker("unresponsive")))[0].startswith(
        "score-0 (process 7) does not answer"
    )
    assert problems(role("score", worker("ended"))) == (
        "score-0 has died: its partitions are reassigned when its session times out; see its log",
    )
    assert problems(role("score", worker("running"), worker("ended", member=False))) == ()


def test_a_partition_without_a_worker_or_with_deleted_records_is_a_problem() -> None:
    score = role("score", worker("ready"))
    assert problems(score, inputs=(input_of_scorer(),)) == ()
    assert problems(score, inputs=(input_of_scorer(worker=None),)) == (
        "p.raw[0] is assigned to no score worker: "
        "wait for the rebalance, or see `stream-app doctor`",
    )
    assert problems(score, inputs=(input_of_scorer(lost=7),)) == (
        "7 records of p.raw[0] were deleted before score read them: raise the topic's retention",
    )


def test_a_lagging_role_is_reported_for_its_worst_partition() -> None:
    late = input_of_scorer(partition=1, lag_seconds=BEHIND_SECONDS + 300, lag_records=1234)
    assert problems(role("score", worker("ready")), inputs=(input_of_scorer(), late)) == (
        "score is behind in p.raw[1]: 1,234 records, the oldest 6 min old; "
        "see the log of its worker, or add score workers",
    )
    assert (
        problems(
            role("score", worker("ready")), inputs=(input_of_scorer(lag_seconds=BEHIND_SECONDS),)
        )
        == ()
    )


def test_a_monitor_that_waits_for_a_watermark_is_not_behind() -> None:
    late = input_of_scorer(role="monitor", topic="p.scored", lag_seconds=BEHIND_SECONDS + 300)
    monitor = role("monitor", worker("ready"))
    assert len(problems(monitor, inputs=(late,))) == 1
    assert problems(monitor, inputs=(replace(late, waiting=True),)) == ()


def test_an_old_watermark_is_a_problem_while_a_monitor_runs() -> None:
    old = WatermarkStatus(1, None, None, OLD_WATERMARK_SECONDS + 60, False)
    new = WatermarkStatus(0, None, None, OLD_WATERMARK_SECONDS, False)
    windows = WindowStatus(watermarks=(new, old, WatermarkStatus(2, None, None, None, False)))
    assert problems(role("monitor", worker("ready")), windows=windows) == (
        "the watermark of partition 1 is 21 min old, so no window of the monitor closes: "
        "see the log of the partition's scorer",
    )
    assert problems(role("score", worker("ready")), windows=windows) == ()


def test_contradicting_record_counts_and_a_nearly_full_state_are_problems() -> None:
    unbalanced = RecordCountTotals(
        0, 1, 0, 0, 0, 0, 0, {}, 0, 0, 0, 0, 0, {}, 0, 0, 0, 0, 0, 0, 0, 0, {}, False, 0
    )
    assert problems(counts=unbalanced) == (
        "the record counts do not add up, so an event was lost or duplicated: "
        "report this, and keep the topics",
    )
    full = PartitionStatus(3, 950, 1000, None, None, None, None, None, {})
    assert problems(partitions=(full,))[0].startswith("the state of partition 3 is 95% full")
    assert (
        problems(
            partitions=(
                PartitionStatus(3, 899, 1000, None, None, None, None, None, {}),
                PartitionStatus(3, None, 1, None, None, None, None, None, {}),
            )
        )
        == ()
    )
