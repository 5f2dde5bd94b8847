"""Restoring the state of a scorer, from a changelog in memory."""

from types import SimpleNamespace
from typing import Any

import pytest

from stream_app.core.scoring.partition_state import PartitionState
from stream_app.errors import DataLossError
from stream_app.worker.roles.score_processor import ScoreProcessor
from tests.small_pipeline import HOUR, small_pipeline


def test_a_state_of_another_version_is_an_error_that_says_so() -> None:
    changelog = [(b"t", b'{"record_counts":{},"names":[]}')]
    reader: Any = SimpleNamespace(read_stable=lambda *_: changelog)
    scorer: Any = SimpleNamespace(state=PartitionState(3, HOUR, HOUR))
    others: Any = SimpleNamespace(current=None)
    processor = ScoreProcessor(small_pipeline(), scorer, reader, others, others, others, others)
    with pytest.raises(DataLossError, match=r"payments\.score\.state\[3\] was written by another"):
        processor.restore({})
