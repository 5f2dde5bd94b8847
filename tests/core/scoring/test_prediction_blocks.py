"""Records that the state writes: blocks of predictions, single records, floor and tombstones."""

import orjson
import pytest

from stream_app.core.scoring.partition_state import PartitionState
from stream_app.core.scoring.prediction_blocks import BLOCK_LIMITS, BlockLimits
from stream_app.core.scoring.state_changelog import (
    JoinedEvent,
    StateFormatError,
    WaitingLabel,
    decode_change,
)
from stream_app.core.scoring.state_codec import PendingPrediction, PredictionOrigin
from stream_app.records import Output, Record
from tests.small_pipeline import HOUR, NOW

ORIGIN = PredictionOrigin("f" * 16, 0.5, "raw")
LABEL = WaitingLabel(True, NOW, Record("p.labels", 0, 1, NOW, b"x", b"{}"))


class Written:
    """A state and what it wrote."""

    def __init__(self, limits: BlockLimits = BLOCK_LIMITS, horizon: int = HOUR) -> None:
        self.state = PartitionState(0, horizon, HOUR, limits=limits)
        self.outputs: list[Output] = []

    def predict(self, event_id: str, at: int = NOW, text: str = "") -> None:
        prediction = PendingPrediction(at, 0.5, 1, {"text": text}, ORIGIN, 7)
        self.outputs += self.state.expect(event_id, at, self.state.pack(prediction))

    def commit(self) -> list[str]:
        """Return the keys of the transaction, blocks with their event ids, without checkpoint."""
        outputs, self.outputs = self.outputs + self.state.final_records(), []
        return [_described(output) for output in outputs[:-1]]

    def expire(self, clock: int) -> None:
        self.state.clock.time = clock
        for _, _, tombstones in self.state.pop_expired():
            self.outputs += tombstones


def _described(output: Output) -> str:
    key, value = (output.key or b"").decode(), output.value
    if value is None:
        return f"-{key}"
    if key[0] == "b":
        change = decode_change(output.key, value)
        return f"{key}: {' '.join(change.ids)}"  # type: ignore[union-attr]  # a block
    return key


def test_few_predictions_become_single_records() -> None:
    written = Written(BlockLimits(least=3))
    written.predict("a")
    written.predict("b")
    assert written.commit() == ["ea", "eb"]
    for event_id in "cde":
        written.predict(event_id)
    assert written.commit() == ["b0: c d e"]
    assert written.commit() == []


def test_a_block_is_written_as_soon_as_it_is_full() -> None:
    written = Written(BlockLimits(enough=3, least=2))
    for event_id in "abcd":
        written.predict(event_id)
        written.outputs += written.state.full_blocks()
    assert written.commit() == ["b0: a b c", "ed"]


def test_a_block_has_a_largest_size() -> None:
    written = Written(BlockLimits(least=2, bytes=600))
    for number in range(4):
        written.predict(f"{number}", text="x" * 200)
    assert written.state.blocks.is_full
    assert written.commit() == ["b0: 0 1", "b1: 2 3"]
    written.predict("large", text="x" * 601)
    assert written.state.full_blocks() != []


def test_a_prediction_with_its_label_is_in_no_block() -> None:
    written = Written(BlockLimits(least=2))
    for event_id in "abc":
        written.predict(event_id)
    written.outputs.append(written.state.put("b", JoinedEvent(NOW)))
    assert written.commit() == ["eb", "b0: a c"]


def test_an_id_that_has_a_single_record_keeps_having_one() -> None:
    written = Written(BlockLimits(least=2))
    written.outputs.append(written.state.put("b", LABEL))
    for event_id in "abc":
        written.predict(event_id)
    assert written.commit() == ["eb", "eb", "b0: a c"]
    written.expire(NOW + 2 * HOUR + 1)
    assert written.commit() == ["-eb", "f", "-b0"]


def test_an_event_far_ahead_does_not_keep_a_block_alive() -> None:
    written = Written(BlockLimits(least=2))
    for event_id, hours in (("a", 0), ("ahead", 24 * 365), ("b", 2), ("c", 1)):
        written.predict(event_id, NOW + hours * HOUR)
    assert written.commit() == ["b0: a b c", "eahead"]


def test_a_block_is_deleted_with_its_last_prediction() -> None:
    written = Written(BlockLimits(least=2))
    for event_id, hours in (("b", 1), ("a", 0), ("c", 1)):
        written.predict(event_id, NOW + hours * HOUR)
    assert written.commit() == ["b0: b a c"]
    written.expire(NOW + 2 * HOUR + 1)
    assert written.commit() == ["f"]
    written.outputs.append(written.state.put("b", JoinedEvent(NOW + HOUR)))
    assert written.commit() == ["eb"]
    written.expire(NOW + 3 * HOUR + 1)
    assert written.commit() == ["-eb", "f", "-b0"]
    assert written.state.entries == {}


def test_a_prediction_removed_in_its_transaction_leaves_only_the_floor() -> None:
    written = Written(BlockLimits(least=2))
    for event_id in "ab":
        written.predict(event_id)
    written.expire(NOW + 2 * HOUR + 1)
    assert written.commit() == ["f"]


def test_a_prediction_below_the_floor_has_a_single_record() -> None:
    before = Written(BlockLimits(least=2))
    before.predict("x", NOW)
    before.commit()
    before.expire(NOW + 2 * HOUR + 1)
    records = [*before.outputs, *before.state.final_records()]
    after = Written(BlockLimits(least=2), horizon=24 * HOUR)
    after.state.restore((one.key, one.value) for one in records)
    for event_id, at in (("a", NOW - HOUR), ("x", NOW), ("y", NOW), ("z", NOW + 1)):
        after.predict(event_id, at)
    assert after.commit() == ["b0: y z", "ea", "ex"]


def test_a_changelog_of_another_format_is_not_read() -> None:
    (checkpoint,) = PartitionState(0, HOUR, HOUR).final_records()
    value = orjson.loads(checkpoint.value or b"")
    del value["format"]
    with pytest.raises(StateFormatError, match="format 1, expected 6"):
        PartitionState(0, HOUR, HOUR).restore([(b"t", orjson.dumps(value))])


def test_a_block_of_another_format_is_not_read() -> None:
    with pytest.raises(StateFormatError, match="block 7"):
        PartitionState(0, HOUR, HOUR).restore([(b"b7", b'[2,"b",["b"]]\n[2,0,0.5,1,7]')])


def test_the_floor_never_falls() -> None:
    before = Written(BlockLimits(least=2))
    before.predict("x", NOW)
    before.expire(NOW + 2 * HOUR + 1)
    records = [*before.outputs, *before.state.final_records()]
    after = Written(BlockLimits(least=2), horizon=24 * HOUR)
    after.state.restore((one.key, one.value) for one in records)
    after.predict("a", NOW - HOUR)
    assert after.commit() == ["ea"]
    after.expire(NOW + 24 * HOUR + 1)
    assert after.commit() == ["-ea"]
    assert after.state.blocks.floor == (NOW, "x")
