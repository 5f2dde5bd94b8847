"""Parts of the keyed state: expiry in order, and compact predictions."""

import struct
from math import inf
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import msgpack

from stream_app.core.scoring import state_codec
from stream_app.core.scoring.expiry_queue import ExpiryQueue
from stream_app.core.scoring.state_codec import (
    PendingPrediction,
    PredictionCodec,
    PredictionOrigin,
    is_single,
    packed_event_time,
    to_single,
)
from tests.small_pipeline import NOW

MINUTE = 60_000
times = (
    st.integers(-3 * MINUTE, 3 * MINUTE)
    | st.integers(-180 * MINUTE, 180 * MINUTE)
    | st.integers(-(2**50), 2**50)
)
steps = st.lists(
    st.tuples(st.sampled_from(["put", "put", "put", "remove", "pop"]), st.integers(0, 9), times)
)


@given(steps)
def test_ids_expire_in_order_once_and_not_too_early(
    steps: list[tuple[str, int, int]],
) -> None:
    due: dict[str, int] = {}
    schedule = ExpiryQueue(due.get)
    for kind, number, time in steps:
        event_id = f"e{number}"
        if kind == "put":
            due[event_id] = time
            schedule.add(time, event_id)
        elif kind == "remove":
            due.pop(event_id, None)
        else:
            expected = sorted((time_, event_id) for event_id, time_ in due.items() if time_ < time)
            for found in schedule.pop(time):
                assert found == expected.pop(0)
                del due[found[1]]
            assert expected == []
    rest = sorted((time, event_id) for event_id, time in due.items())
    for found in schedule.pop(inf):
        assert found == rest.pop(0)
        del due[found[1]]
    assert rest == []


def test_ids_left_by_an_early_stop_expire_later() -> None:
    due = {f"e{number}": number for number in range(5)}
    schedule = ExpiryQueue(due.get)
    for event_id, time in due.items():
        schedule.add(time, event_id)
    assert next(schedule.pop(inf)) == (0, "e0")
    schedule.add(-MINUTE, "early")
    due["early"] = -MINUTE
    assert list(schedule.pop(3)) == [(-MINUTE, "early"), (1, "e1"), (2, "e2")]


values = (
    st.floats(allow_nan=False, allow_infinity=False)
    | st.integers(-(2**63), 2**63 - 1)
    | st.booleans()
    | st.text()
)
features = st.dictionaries(st.sampled_from("abc") | st.text(), values)
origins = st.builds(
    PredictionOrigin,
    st.sampled_from(["a" * 16, "b" * 16]),
    st.sampled_from([None, 0.5]),
    st.sampled_from(["raw", "raw.replay"]),
    st.sampled_from([None, "shop"]),
    st.sampled_from([None, "7"]),
)


@st.composite
def predictions(draw: st.DrawFn) -> PendingPrediction:
    """Draw a prediction."""
    scores = st.floats(0, 1) | st.dictionaries(st.text(), st.floats(0, 1), min_size=1)
    return PendingPrediction(
        draw(st.integers(-(2**60), 2**60)),
        draw(scores),
        draw(st.integers(-1, 2**62)),
        draw(features | st.none()),
        draw(origins),
        draw(st.integers(0, 2**62)),
    )


@pytest.fixture(params=[0, 200, 10_000])
def most_rows(request: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_codec, "MAX_ROW_BYTES", request.param)


@pytest.mark.usefixtures("most_rows")
def test_a_packed_prediction_is_unpacked_unchanged() -> None:
    @given(st.lists(predictions()), st.booleans())
    def unpacked(predictions: list[PendingPrediction], is_restored: bool) -> None:
        packer = PredictionCodec()
        packed = [packer.pack(prediction) for prediction in predictions]
        if is_restored:
            packer = PredictionCodec(orjson.loads(orjson.dumps(packer.as_list())))
        for prediction, one in zip(predictions, packed, strict=True):
            for form in (one, to_single(one)):
                found = packer.unpack(form)
                assert repr(found) == repr(prediction)  # types and order of the features count
                assert packed_event_time(form) == prediction.event_time
            assert packer.pack(found) == one
            assert (is_single(one), is_single(to_single(one))) == (False, True)

    unpacked()


def prediction(names: str, fingerprint: str = "f" * 16) -> PendingPrediction:
    origin = PredictionOrigin(fingerprint, 0.5, "raw")
    return PendingPrediction(NOW, 0.5, 1, dict.fromkeys(names, 1.0), origin, 7)


def test_packed_predictions_do_not_repeat_what_they_have_in_common() -> None:
    packer = PredictionCodec()
    packed = [packer.pack(prediction("xyz")) for _ in range(3)]
    rest = msgpack.encode([0.5, 1, 7, 1.0, 1.0, 1.0])
    assert packed == [struct.pack(">qH", NOW, 0) + rest] * 3


def test_rows_that_no_prediction_uses_make_room() -> None:
    packer = PredictionCodec()
    old, new = packer.pack(prediction("x", "old")), packer.pack(prediction("x", "new"))
    packer = packer.without_unused([to_single(new)])
    assert [row and row.origin.fingerprint for row in packer.rows] == [None, "new"]
    with pytest.raises(ValueError, match="row 0"):
        packer.unpack(old)
    newest = packer.pack(prediction("y", "newest"))
    assert [row and row.origin.fingerprint for row in packer.rows] == ["newest", "new"]
    assert packer.unpack(newest) == prediction("y", "newest")
    assert packer.unpack(new) == prediction("x", "new")


def test_predictions_contain_their_row_if_there_is_no_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(state_codec, "MAX_ROW_BYTES", 60)
    packer = PredictionCodec()
    first, second = packer.pack(prediction("x")), packer.pack(prediction("y"))
    assert len(packer.rows) == 1
    assert packer.without_unused([first, second]).unpack(second) == prediction("y")
    assert packer.without_unused([first, second]).unpack(first) == prediction("x")
