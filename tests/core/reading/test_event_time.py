"""Event times: the fast parser agrees with the standard library."""

import random
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.core.reading import event_time
from stream_app.core.reading.event_time import FIRST_MS, LAST_MS, to_unix_ms

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def expected_ms(text: str) -> int | None:
    """Return the Unix milliseconds of a text, computed by the standard library."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    if time.tzinfo is None:
        return None
    milliseconds = (time - EPOCH) // timedelta(milliseconds=1)
    return milliseconds if FIRST_MS <= milliseconds <= LAST_MS else None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2013-01-01T10:15:00Z", 1357035300000),
        ("2013-01-01T05:15:00-05:00", 1357035300000),
        ("2013-01-01T15:45:00+05:30", 1357035300000),
        ("20130101T101500.999Z", 1357035300999),
        ("1969-12-31T23:59:59.9999+00:00", -1),
        ("20130101T1015+00:00Z", None),  # two offsets
        ("2013-01-01T10:15:60Z", None),
        ("2013-01-01T10:15:00", None),
        ("", None),
        ("0001-01-01T00:00:00Z", FIRST_MS),
        ("0001-01-01T01:00:00+01:00", FIRST_MS),
        ("9999-12-31T23:59:59.999Z", LAST_MS),
        ("9999-12-31T22:59:59.999999-01:00", LAST_MS),
    ],
)
def test_only_a_text_with_an_offset_is_a_time(text: str, expected: int | None) -> None:
    assert to_unix_ms(text) == expected == expected_ms(text)


@pytest.mark.parametrize(
    "text",
    [
        "0001-01-01T00:00:00+01:00",
        "0001-01-01T00:00:00.5+01:00",
        "00010101T000000+0030",
        "9999-12-31T23:59:59-01:00",
        "9999-12-31T23:59:59.5-23:59",
    ],
)
def test_a_text_that_is_outside_the_years_1_to_9999_in_utc_is_no_time(text: str) -> None:
    assert to_unix_ms(text) is None


formats = st.sampled_from(
    [
        "%Y-%m-%dT%H:%M:%S",
        "%Y-%m-%d %H:%M:%S",
        "%Y-%m-%dT%H:%M",
        "%Y%m%dT%H%M%S",
        "%Y%m%dT%H%M%S.%f",
        "%G-W%V-%uT%H:%M:%S",
    ]
)
offsets = st.sampled_from(
    ["Z", "z", "", "+00:00", "-00:00", "+05:30", "-14:00", "+15:00", "-0330", "+01", "+01:00:30"]
)
minutes = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(
    (
        st.builds(
            lambda time, form, offset: time.strftime(form) + offset,
            st.datetimes(),
            formats,
            offsets,
        )
    )
    | st.datetimes(timezones=minutes).map(str)
    | st.text("0123456789-:.,TWZ+ ", max_size=26)
    | st.tuples(st.text("0123456789-:.TZ+", min_size=19, max_size=19), offsets).map("".join)
)
def test_any_text_is_parsed_like_in_the_standard_library(text: str) -> None:
    # The second time, the parts of the text may be known.
    assert [to_unix_ms(text), to_unix_ms(text)] == [expected_ms(text)] * 2


def test_40000_combinations_of_parts_are_parsed_like_in_the_standard_library() -> None:
    rng = random.Random(7)
    for _ in range(40_000):
        year = rng.choice([1, 2, 1969, 2013, 2024, 9998, 9999])
        date = f"{year:04}-{rng.randrange(14):02}-{rng.randrange(33):02}"
        time = f"{rng.randrange(26):02}:{rng.randrange(62):02}:{rng.randrange(62):02}"
        offset = rng.choice(["Z", "+00:00", "-05:00", "+05:30", "-14:45", "+15:00", "", ".5Z", "z"])
        text = f"{date}{rng.choice('TTT t')}{time}{offset}"
        assert to_unix_ms(text) == expected_ms(text), text


def test_the_number_of_parts_that_are_kept_is_limited() -> None:
    day = timedelta(days=1)
    for number in range(5000):
        to_unix_ms((EPOCH + number * day).isoformat())
    assert len(event_time._DATES) <= event_time._MAX_PARTS
    assert to_unix_ms("1970-01-01T00:00:00+00:00") == 0
