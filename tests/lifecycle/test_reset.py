"""The plan of a reset names what it does to consumers of the scored topic."""

from types import SimpleNamespace
from typing import Any

import pytest

from stream_app.cli.cluster import reset_lines
from stream_app.lifecycle.reset import plan_reset

LOST = "Its consumers lose what they have not read"
TWICE = "Each event that is scored again is then in payments.scored twice."


class ClusterContent:
    """Topics of a pipeline with ten records each."""

    name = "payments"
    servers = "localhost:9092"

    def offset_bounds(self) -> dict[tuple[str, int], tuple[int, int]]:
        kinds = ("raw", "labels", "audit", "scored", "examples")
        return {(self.topic(kind), 0): (5, 15) for kind in kinds}

    def topic(self, kind: str) -> str:
        return f"payments.{kind}"

    def groups(self) -> dict[str, Any]:
        return {"score": SimpleNamespace(name="payments-score")}


@pytest.mark.parametrize(
    ("keep_raw", "keep_scored", "kept"),
    [
        (False, False, set()),
        (True, False, {"raw", "labels", "audit"}),
        (False, True, {"scored"}),
        (True, True, {"raw", "labels", "audit", "scored"}),
    ],
)
def test_the_preview_says_what_happens_to_the_scored_topic(
    keep_raw: bool, keep_scored: bool, kept: set[str]
) -> None:
    view: Any = ClusterContent()
    planned = plan_reset(view, keep_raw=keep_raw, keep_scored=keep_scored)
    assert set(planned.kept) == {f"payments.{kind}" for kind in kept}
    assert not planned.kept.keys() & planned.deleted.keys()
    text = "\n".join(reset_lines(planned))
    assert (LOST in text) == (not keep_scored)
    assert (TWICE in text) == (keep_raw and keep_scored)
