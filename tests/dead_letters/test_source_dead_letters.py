"""Previews and edits of dead letters of sources: as ingest and the scorer would read them."""

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from stream_app.core.evaluation.prediction_tasks import BinaryTask
from stream_app.core.reading.event_time import NEVER
from stream_app.dead_letters.dead_letter_reader import DeadLetter, DeadLetterRef, Origin
from stream_app.dead_letters.dry_run import Preview, RecordEvaluator
from stream_app.dead_letters.ledger import Ledger
from stream_app.dead_letters.replay_plan import ReplayPlanner, ReplayRequest
from stream_app.dead_letters.replay_records import EditedRecord, RecordEditor, ReplayRoute
from stream_app.declaration.pipeline_fingerprint import fingerprint
from stream_app.headers import ERROR_STAGE, SOURCE, SOURCE_KEY
from stream_app.loading import complete
from stream_app.model_store.model_loading import LoadedModel
from stream_app.settings import Settings, TopicSettings
from stream_app.sources import RecordKey
from tests.small_pipeline import NOW
from tests.worker.roles.test_ingest_processor import attached

Edit = Callable[[DeadLetter], Any]


def letter_of(
    number: int, value: bytes, stage: str = "ingest", key: bytes = b"theirs", **headers: bytes
) -> DeadLetter:
    """Return a dead letter of an order that is on no topic."""
    ref = DeadLetterRef("raw.dlq", 1, number, f"id{number}", Origin("shop.orders", 2, number))
    source = f"orders/2/{number}/{NOW - 5}".encode()
    ours = [(SOURCE, source), (ERROR_STAGE, stage.encode())]
    return DeadLetter(ref, NOW, key, value, [*ours, *headers.items()])


def order_value(number: int, **changes: Any) -> bytes:
    fields = {"kind": "order", "order": {"id": f"o{number}"}, "ts": NOW // 1000, "amount": 1.0}
    return orjson.dumps({**fields, **changes})


def preview_of(
    edit: Edit | None = None, oldest: int = NEVER, max_bytes: int = 10_000, **changes: Any
) -> Preview:
    pipeline = complete(attached(**changes))
    model = LoadedModel("payments", 0, fingerprint(pipeline), pipeline.model(), BinaryTask())
    settings = Settings(topics=TopicSettings(max_message_bytes=max_bytes))
    evaluator = RecordEvaluator(settings, pipeline, model, {0: oldest, 1: oldest, 2: oldest}, 3)
    return Preview(evaluator, RecordEditor(pipeline, edit))


def test_a_preview_reads_dead_letters_of_ingest_as_ingest_and_then_the_scorer() -> None:
    preview = preview_of()
    for number, value in enumerate(
        (
            order_value(0),
            order_value(1, kind="quote"),
            b"{broken",
            order_value(3, order={}),
            order_value(4, amount="many"),
            order_value(5, kind=None, order=None),
        )
    ):
        preview.add(letter_of(number, value))
    result = preview.result
    assert (result.evaluated, result.passed, result.filtered) == (6, 1, 2)
    assert [(one.code, one.sample.offset) for one in result.failing] == [
        ("invalid-json", 2),
        ("missing-field", 3),
        ("wrong-type", 4),
    ]
    assert "2 would be filtered by their source" in "\n".join(result.lines("a model"))


def test_tombstones_of_an_envelope_are_counted() -> None:
    preview = preview_of(envelope="debezium", where=None)
    preview.add(letter_of(0, orjson.dumps({"op": "d", "before": {}, "after": None})))
    assert (preview.result.tombstones, preview.result.failing) == (1, [])


def test_a_record_whose_source_has_another_name_now_would_fail() -> None:
    preview = preview_of(name="sales")
    preview.add(letter_of(0, order_value(0)))
    assert [one.code for one in preview.result.failing] == ["unknown-source"]


def test_a_filter_that_fails_is_shown_with_its_line() -> None:
    preview = preview_of()
    preview.add(letter_of(0, b'{"order": {"id": "o1"}}'))
    (failing,) = preview.result.failing
    assert (failing.code, failing.message) == (
        "filter-failed", "KeyError in the filter (source orders)",
    )  # fmt: skip
    assert (failing.location or "").startswith("test_ingest_processor.py:")


def test_a_forwarded_record_may_be_too_late_or_too_large() -> None:
    late = preview_of(oldest=NOW + 1)
    late.add(letter_of(0, order_value(0)))
    assert [one.code for one in late.result.failing] == ["event-too-late"]
    large = preview_of(max_bytes=1024)
    large.add(letter_of(0, order_value(0, text="x" * 2000)))
    assert [one.code for one in large.result.failing] == ["output-too-large"]


def test_an_edit_keeps_the_key_of_the_source_for_ingest() -> None:
    editor = RecordEditor(complete(attached()), lambda _: order_value(9))
    assert editor(letter_of(0, b"{")) == EditedRecord(b"theirs", order_value(9))


@pytest.mark.parametrize(
    ("value", "key"),
    [
        # The source has another field of the key's name.
        (order_value(9, id="other"), b"o9"),
        (order_value(9, kind="quote"), b"o9"),
        (b"{", b"o1"),
    ],
)
def test_an_edit_of_a_record_that_the_scorer_rejected_has_the_key_of_the_selection(
    value: bytes, key: bytes
) -> None:
    editor = RecordEditor(complete(attached()), lambda _: value)
    assert editor(letter_of(0, b"{", stage="validate", key=b"o1")) == EditedRecord(key, value)


def test_the_key_of_a_source_that_selects_it_comes_from_its_header() -> None:
    fields = {"id": RecordKey(), "at": "at"}
    editor = RecordEditor(complete(attached(fields=fields, where=None)), lambda _: b'{"at": 1}')
    headers = {SOURCE_KEY: b"k7"}
    letter = letter_of(0, b"{", stage="validate", key=b"k1", **headers)
    assert editor(letter) == EditedRecord(b"k7", b'{"at": 1}')


def test_a_plan_names_the_topics_and_counts_what_would_be_left_out() -> None:
    pipeline = complete(attached())
    preview = preview_of()
    route = ReplayRoute("planned", to_source=False, learn=True, model=None, partitions=3)
    planner = ReplayPlanner(
        ReplayRequest("all"), route, RecordEditor(pipeline, None), preview._evaluator, 10_000
    )
    assert list(planner.open_refs([], Ledger(()))) == []
    for number, kind in enumerate(("order", "quote")):
        planner.add(letter_of(number, order_value(number, kind=kind)))
    plan = planner.plan
    assert (plan.send, plan.topics) == ({("raw.dlq", 1): [0, 1]}, {"ingest.replay", "raw"})
    assert (plan.left_out, plan.failing) == ({"filtered": 1}, {})
    planner.add(letter_of(2, order_value(2), stage="validate", key=b"o2"))
    assert plan.topics == {"ingest.replay", "raw", "raw.replay"}
