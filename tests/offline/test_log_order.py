"""Logs are merged by time, each in its own order, and no wrong time moves another record."""

from collections.abc import Iterator
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.offline.log_order import LOOKAHEAD, LogBuffer, Timed, merged_logs, sorted_ahead

Log = list[Timed[str]]


def merged(logs: list[Log], at_once: int = 40) -> list[str]:
    """Return the items of logs, which are read `at_once`."""
    buffers: list[LogBuffer[str]] = [LogBuffer() for _ in logs]
    unread: list[Iterator[Timed[str]]] = [iter(log) for log in logs]

    def read_more() -> None:
        for buffer, rest in zip(buffers, unread, strict=True):
            if buffer.needs_more:
                for _ in range(at_once):
                    item = next(rest, None)
                    buffer.is_ended = item is None
                    if item is None:
                        break
                    buffer.add(item)

    return [timed.item for timed in merged_logs(buffers, read_more)]


def in_logs(times: list[int], partitions: int) -> list[Log]:
    """Return one log per partition; each item is named after its place in the list of times."""
    logs: list[Log] = [[] for _ in range(partitions)]
    for number, time in enumerate(times):
        logs[number * 7 % 11 % partitions].append(Timed(time, f"{number}"))
    return logs


@given(st.lists(st.integers(0, 1000), max_size=300), st.integers(1, 6), st.integers(1, 50))
def test_logs_in_order_of_time_are_sorted(times: list[int], partitions: int, at_once: int) -> None:
    times = sorted(times)
    found = merged(in_logs(times, partitions), at_once)
    assert sorted(found, key=int) == [f"{number}" for number in range(len(times))]
    assert [times[int(name)] for name in found] == times


@given(
    st.lists(st.lists(st.none() | st.integers(-(2**40), 2**40), max_size=80), max_size=5),
    st.integers(1, 50),
)
def test_any_log_keeps_its_own_order(times: list[list[int | None]], at_once: int) -> None:
    logs = [
        [Timed(time, f"{log} {number}") for number, time in enumerate(one)]
        for log, one in enumerate(times)
    ]
    found = merged(logs, at_once)
    assert len(found) == sum(map(len, logs))
    for log, one in enumerate(logs):
        assert [name for name in found if name.startswith(f"{log} ")] == [item for _, item in one]


@pytest.mark.parametrize("wrong", [0, 10**15])
def test_records_with_a_wrong_time_harm_only_themselves(wrong: int) -> None:
    """A tenth of the records has it; all others come in order but for those beside them."""
    chance = Random(1)
    times = [wrong if chance.random() < 0.1 else 1_000_000 + number for number in range(5000)]
    found = [int(name) for name in merged(in_logs(times, 4))]
    right = [number for number in found if times[number] != wrong]
    assert max(before - after for before, after in pairwise(right)) < 4 * LOOKAHEAD


def test_items_within_reach_are_sorted_and_memory_is_bounded() -> None:
    times = [number + 50 * (number % 3) for number in range(10_000)]
    kept = 0
    left: list[int] = []

    def items() -> Iterator[Timed[int]]:
        nonlocal kept
        for time in times:
            kept += 1
            yield Timed(time, time)

    found = []
    for time, _ in sorted_ahead(items(), 200, left.append):
        kept -= 1
        assert kept <= 200
        found.append(time)
    assert found == sorted(times)
    assert left == list(range(200, 0, -1))


def test_an_item_without_a_time_comes_with_the_one_before_it() -> None:
    items = [Timed(5, "a"), Timed(None, "b"), Timed(1, "c")]
    found = [timed.item for _, timed in sorted_ahead(items, 10, lambda _: None)]
    assert found == ["c", "a", "b"]
