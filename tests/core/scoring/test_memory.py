"""Exhausted memory fails one record, with an error code of its own."""

from typing import Any

import pytest

from stream_app.records import Features
from tests.core.scoring.test_scorer import FixedModel, code, scorer
from tests.small_pipeline import NOW, event, record, small_pipeline


def exhausted(_: Any) -> Any:
    raise MemoryError


class Exhausted(FixedModel):
    def score(self, features: Features) -> float:
        raise MemoryError


@pytest.mark.parametrize("part", ["clean", "features", "model"])
def test_exhausted_memory_makes_the_record_a_dead_letter(part: str) -> None:
    broken: dict[str, dict[str, Any]] = {
        "clean": {"clean": (exhausted,)},
        "features": {"features": exhausted},
    }
    one = scorer(small_pipeline(**broken.get(part, {})))
    (letter,) = one.score([record(event(1))], Exhausted() if part == "model" else FixedModel(), NOW)
    assert (letter.topic, code(letter)) == ("raw.dlq", "record-exhausts-memory")
    assert one.state.counts.dead == {"record-exhausts-memory": 1}
