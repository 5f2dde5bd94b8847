"""A pause of learning is a warning, so that it is not forgotten."""

from stream_app.core.learning.learning_rules import Exclusion
from stream_app.doctor.model_checks import learning_results
from stream_app.model_store.annotations import (
    Annotation,
    ExclusionAnnotation,
    exclusion_annotation,
    learning_annotation,
)
from stream_app.model_store.model_registry import ModelRegistry

PAUSE = Annotation(True, "2026-01-01T00:00:00.000+00:00", "ann@host", "empty file")


def test_learning_that_is_not_paused_is_ok() -> None:
    exclusion = Exclusion(1, 0, 1, None, PAUSE.at, PAUSE.who, "inverted")
    records = [
        learning_annotation(PAUSE._replace(active=False))[2:4],
        exclusion_annotation(ExclusionAnnotation(exclusion))[2:4],
    ]
    (found,) = learning_results(ModelRegistry.of(records))
    assert (found.level, found.message) == ("ok", "learning is not paused; 1 exclusion in force")


def test_each_pause_is_a_warning_with_its_author_and_its_end() -> None:
    records = [learning_annotation(PAUSE)[2:4], learning_annotation(PAUSE, "bank")[2:4]]
    whole, source = learning_results(ModelRegistry.of(records))
    assert (whole.level, source.level) == ("warning", "warning")
    assert source.message == (
        "learning from bank is paused since 2026-01-01T00:00:00Z, by ann@host: empty file"
    )
    assert source.remedy.endswith("`stream-app learning resume PIPELINE --source bank`")
    assert whole.remedy.endswith("`stream-app learning resume PIPELINE`")
