"""The line of recent dead letters tells which of them are open."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from stream_app.status.status_model import RecentDeadLetters
from stream_app.status.status_rendering import summary_lines
from tests.status.test_status_rendering import status


@pytest.mark.parametrize(
    ("events", "still_open", "expected"),
    [
        ({}, {}, "none"),
        ({"wrong-type": 720}, {}, "wrong-type 720; open of them: none"),
        (
            {"wrong-type": 720, "rejected": 4},
            {"rejected": 4},
            "wrong-type 720, rejected 4; open of them: rejected 4",
        ),
        ({"wrong-type": 720}, None, "wrong-type 720"),
    ],
)
def test_replayed_dead_letters_are_not_shown_as_open(
    events: Mapping[str, int], still_open: Mapping[str, int] | None, expected: str
) -> None:
    recent = RecentDeadLetters(10, True, events, {}, still_open)
    found = replace(status(0), recent_dead_letters=recent)
    assert summary_lines(found)["dead letters"] == f"in the last 10 min: {expected}"
