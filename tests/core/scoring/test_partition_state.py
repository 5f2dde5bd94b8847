"""Parts of the keyed state: expiry in order, and compact predictions."""

from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.core.scoring import state_codec
from stream_app.core.scoring.expiry_queue import ExpiryQueue
from stream_app.core.scoring.state_codec import PredictionCodec
from stream_app.records import Features

MINUTE = 60_000
times = st.integers(-3 * MINUTE, 3 * MINUTE) | st.integers(-(2**50), 2**50)
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
predictions = st.tuples(
    st.integers(-(2**60), 2**60), st.floats(0, 1), st.integers(0, 2**62), features
)


@pytest.fixture(params=[0, 2, 1000])
def most_names(request: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_codec, "MAX_NAME_BYTES", request.param)


@pytest.mark.usefixtures("most_names")
def test_a_packed_prediction_is_unpacked_unchanged() -> None:
    @given(st.lists(predictions))
    def unpacked(predictions: list[tuple[int, float, int, Features]]) -> None:
        packer = PredictionCodec()
        packed = [packer.pack(prediction) for prediction in predictions]
        for prediction, one in zip(predictions, packed, strict=True):
            found = packer.unpack(one)
            assert repr(found) == repr(prediction)  # types and the order of the features count
            assert packer.pack(found) == one

    unpacked()


def test_packed_predictions_do_not_repeat_the_names_of_features() -> None:
    packer = PredictionCodec()
    packed = [
        packer.pack((0, 0.5, 1, {"a feature with a long name": 1.0, "another": 2.0}))
        for _ in range(3)
    ]
    assert b"name" not in b"".join(packed)
