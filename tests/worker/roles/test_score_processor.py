"""Restoring the state of a scorer, from a changelog in memory."""

from types import SimpleNamespace
from typing import Any

import pytest

from stream_app.core.scoring.partition_state import PartitionState
from stream_app.core.scoring.scorer import Scorer, ScorerConfig
from stream_app.errors import DataLossError
from stream_app.records import InputPartition
from stream_app.worker.roles.score_processor import ScoreProcessor
from tests.core.scoring.label_streams import FixedModel
from tests.small_pipeline import HOUR, NOW, label, record, small_pipeline


def processor_of(scorer: Any, reader: Any) -> ScoreProcessor:
    others: Any = SimpleNamespace(
        current=lambda: None,
        rejection=lambda: None,
        due=lambda *_: [],
        checks_all=False,
    )
    return ScoreProcessor(small_pipeline(), scorer, reader, others, others, others, others)


def test_time_at_the_end_is_committed_now_and_then_while_something_waits() -> None:
    pipeline = small_pipeline()
    state = PartitionState(0, HOUR, HOUR, idle_after=HOUR)
    config = ScorerConfig(
        fingerprint="", group="", app_version="", max_bytes=10**5, max_entries=10**5
    )
    scorer = Scorer(pipeline, config, state, lambda: 0.0)
    processor = processor_of(scorer, None)
    labels, raw = InputPartition("payments.labels", 0), InputPartition("payments.raw", 0)

    def commits(now: int, *ended: InputPartition) -> int:
        """Return the commits of ten minutes of looks."""
        found = 0
        for at in range(now, now + 600_000, 1000):
            processor.look(at, ended)
            outputs = processor.idle(at, at_end=False)
            if outputs:
                assert [one.key for one in outputs] == [b"t"]
                processor.before_commit({}, at)
                found += 1
        return found

    assert commits(NOW, labels) == 0
    scorer.join([record(label(1, NOW), topic="payments.labels")], FixedModel(), NOW)
    # Every 72 s, a fiftieth of `idle_after`, of both inputs together.
    assert 14 <= commits(NOW + 600_000, labels, raw) <= 17
    assert commits(NOW + 1_200_000) == 0
    assert state.clock.labels.idle_ms >= 1_190_000
    assert 590_000 <= state.clock.events.idle_ms <= 600_000


def test_a_state_of_another_version_is_an_error_that_says_so() -> None:
    changelog = [(b"t", b'{"record_counts":{},"names":[]}')]
    reader: Any = SimpleNamespace(read_stable=lambda *_: changelog)
    scorer: Any = SimpleNamespace(state=PartitionState(3, HOUR, HOUR), score=None)
    others: Any = SimpleNamespace(current=None)
    processor = ScoreProcessor(small_pipeline(), scorer, reader, others, others, others, others)
    with pytest.raises(DataLossError, match=r"payments\.score\.state\[3\] was written by another"):
        processor.restore({})
