"""Retry queue: delays, limits, and recovery after a restart."""

from collections.abc import Iterable
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from stream_app.core.scoring.retries import RetryQueue
from stream_app.records import Output, Record
from stream_app.resilience import Retry
from tests.small_pipeline import NOW, event, record

DECLARED = Retry(
    max_attempts=4,
    initial_delay=timedelta(seconds=1),
    max_delay=timedelta(seconds=3),
    max_waiting=5,
)


LARGEST = 10_000_000


def retries(declared: Retry = DECLARED) -> RetryQueue:
    return RetryQueue(declared, "score.state", 0, b"r")


def restored(changelog: Iterable[Output], declared: Retry = DECLARED) -> RetryQueue:
    again = retries(declared)
    for output in changelog:
        assert (output.key or b"")[:1] == b"r"
        again.restore((output.key or b"")[1:], output.value)
    again.finish_restore()
    return again


def test_the_delay_grows_until_the_last_attempt() -> None:
    waiting, failing, now, delays = retries(), record(event(1)), NOW, []
    while waiting.add(failing, now, LARGEST) is not None:
        assert waiting.due(now) == []
        failed_at = now
        while not (due := waiting.due(now)):
            now += 10
        assert due == [failing]
        delays.append(now - failed_at)
    assert len(delays) == DECLARED.max_attempts - 1
    assert all(
        low <= delay <= high + 10
        for delay, low, high in zip(delays, (500, 1000, 1500), (1000, 2000, 3000), strict=True)
    )
    last = waiting.last_attempt(failing)
    assert last is not None
    assert (last.number, last.first_failed) == (3, NOW)


def test_no_retry_is_due_after_the_time_to_give_up() -> None:
    waiting, failing = (
        retries(Retry(max_attempts=100, give_up_after=timedelta(seconds=30))),
        record(event(1)),
    )
    assert waiting.add(failing, NOW, LARGEST) is not None
    assert waiting.add(failing, NOW + 30_000, LARGEST) is None


def test_the_number_of_waiting_records_is_limited() -> None:
    waiting = retries()
    kept = [waiting.add(record(event(number), number), NOW, LARGEST) for number in range(7)]
    assert [output is not None for output in kept] == [True] * 5 + [False] * 2
    assert waiting.add(record(event(0), 0), NOW, LARGEST) is not None, (
        "a waiting record may be added again"
    )


def test_the_bytes_of_waiting_records_are_limited() -> None:
    waiting = retries(Retry())
    big = [record(b"x" * 6_000_000, number) for number in range(8)]
    assert [waiting.add(one, NOW, LARGEST) is not None for one in big] == [True] * 5 + [False] * 3
    waiting.release(big[0])
    assert waiting.add(big[7], NOW, LARGEST) is not None


def test_a_record_too_large_for_the_changelog_does_not_wait() -> None:
    assert retries().add(record(b"x" * 800), NOW, 1000) is None


def test_a_released_record_is_removed() -> None:
    waiting, failing = retries(), record(event(1))
    assert waiting.release(failing) == []
    waiting.add(failing, NOW, LARGEST)
    (tombstone,) = waiting.release(failing)
    assert (tombstone.value, len(waiting), waiting.bytes) == (None, 0, 0)
    assert waiting.due(NOW + 10_000) == []


def test_a_postponed_record_is_due_after_a_second() -> None:
    waiting, failing = retries(), record(event(1))
    waiting.add(failing, NOW, LARGEST)
    waiting.postpone(waiting.due(NOW + 2000), NOW + 2000)
    assert waiting.due(NOW + 2999) == []
    assert waiting.due(NOW + 3000) == [failing]


HEADER_VALUES = st.none() | st.binary(max_size=5)
HEADERS = st.lists(st.tuples(st.text(max_size=5), HEADER_VALUES), max_size=3).map(tuple)
RECORDS = st.builds(
    Record,
    st.sampled_from(["payments.raw", "payments.raw.replay"]),
    st.just(0),
    st.integers(0, 3),
    st.just(NOW),
    st.none() | st.binary(max_size=5),
    st.none() | st.binary(max_size=20),
    HEADERS,
)


@given(st.lists(st.tuples(RECORDS, st.integers(0, 5000), st.booleans()), max_size=40))
def test_a_restored_queue_has_the_same_records_and_times(
    steps: list[tuple[Record, int, bool]],
) -> None:
    waiting, now, changelog = retries(), NOW, list[Output]()
    for one, elapsed, failed in steps:
        now += elapsed
        written = waiting.add(one, now, LARGEST) if failed else None
        changelog += [written] if written is not None else waiting.release(one)
    again = restored(changelog)
    assert again.waiting == waiting.waiting
    assert again.bytes == waiting.bytes
    assert sorted(again.due(now + 10_000)) == sorted(waiting.due(now + 10_000))


def test_a_record_added_again_in_the_millisecond_of_its_release_is_due_once() -> None:
    waiting, failing = retries(), record(event(1))
    for _ in range(2):
        waiting.add(failing, NOW, LARGEST)
        waiting.release(failing)
    waiting.add(failing, NOW, LARGEST)
    assert waiting.due(NOW + 1000) == [failing]


def test_due_records_are_returned_up_to_a_limit() -> None:
    waiting = retries()
    for number in range(5):
        waiting.add(record(event(number), number), NOW, LARGEST)
    assert [len(waiting.due(NOW + 1000, 2)) for _ in range(4)] == [2, 2, 1, 0]


def test_a_clock_that_is_set_back_makes_records_due() -> None:
    waiting, failing = retries(), record(event(1))
    waiting.add(failing, NOW, LARGEST)
    assert waiting.due(NOW - 1) == []
    assert waiting.due(NOW - 24 * 3_600_000) == [failing]
