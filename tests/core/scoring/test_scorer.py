"""Scorer: one outcome per record, and labels join the features of their prediction."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import avro.io
import avro.schema
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.core.examples import Example, label_source
from stream_app.core.reading.avro_reader import compile_reader
from stream_app.core.reading.avro_writer import compile_writer
from stream_app.core.reading.decoding import Schemas
from stream_app.core.scoring.partition_state import PartitionState
from stream_app.core.scoring.scorer import MAX_EXPIRED_PER_CALL, Scorer, ScorerConfig
from stream_app.headers import SOURCE, SourcePosition, own_header_texts
from stream_app.records import ENVELOPE_BYTES, Features, Output, Record, UnreadableRecord
from stream_app.sources import Source
from tests.core.scoring.test_replay_headers import as_replayed
from tests.small_pipeline import HOUR, NOW, event, label, record, small_pipeline

DAY = 24 * HOUR


class FixedModel:
    """Scores by amount, so that a test knows what to expect."""

    name = "payments"

    def __init__(self, version: int = 3) -> None:
        self.version = version

    def score(self, features: Features) -> float:
        return float(features["amount"]) / 100


def scorer(pipeline: Any = None, *, max_bytes: int = 100_000, max_entries: int = 1000) -> Scorer:
    config = ScorerConfig(
        fingerprint="f" * 16,
        group="payments.score",
        app_version="1",
        max_bytes=max_bytes,
        max_entries=max_entries,
    )
    state = PartitionState(0, horizon=DAY, lateness=6 * HOUR)
    return Scorer(pipeline or small_pipeline(), config, state, lambda: 0.0)


def of(outputs: list[Output], topic: str) -> list[Output]:
    return [output for output in outputs if output.topic == topic]


def code(output: Output) -> str:
    return own_header_texts(output.headers)["stream-app-error-code"]


def test_an_event_is_scored_with_everything_that_explains_the_score() -> None:
    outputs = scorer().score([record(event(70), 5)], FixedModel(), NOW)
    (scored,) = of(outputs, "scored")
    assert scored.value is not None
    assert orjson.loads(scored.value) == {
        "event_id": "e70",
        "event_time": NOW,
        "scored_at": NOW,
        "prediction": True,
        "score": 0.7,
        "threshold": 0.5,
        "probabilities": None,
        "model": {"name": "payments", "version": 3},
        "degraded": None,
        "source": {"topic": "payments.raw", "partition": 0, "offset": 5},
        "fingerprint": "f" * 16,
        "imputed": [],
        "label_due_by": NOW + DAY,
        "features": None,
        "origin": None,
        "schema_id": None,
    }


@pytest.mark.parametrize("published", [True, False])
def test_a_scored_record_conforms_to_its_schema(published: bool) -> None:
    schema = avro.schema.parse(Path("schemas/scored.avsc").read_text())
    outputs = scorer(small_pipeline(publish_features=published)).score(
        [record(event(70))], FixedModel(), NOW
    )
    assert avro.io.validate(schema, orjson.loads(of(outputs, "scored")[0].value or b""))


def test_features_are_published_when_the_pipeline_says_so() -> None:
    outputs = scorer(small_pipeline(publish_features=True)).score(
        [record(event(70))], FixedModel(), NOW
    )
    assert orjson.loads(of(outputs, "scored")[0].value or b"")["features"] == {
        "amount": 70.0,
        "domestic": True,
    }


def test_the_trace_context_is_copied_to_the_scored_record() -> None:
    sent = record(event(1), headers=[("traceparent", b"00-1"), ("other", b"x")])
    assert of(scorer().score([sent], FixedModel(), NOW), "scored")[0].headers == [
        ("traceparent", b"00-1")
    ]


def test_a_second_event_with_the_same_id_is_counted_as_a_duplicate() -> None:
    subject = scorer()
    outputs = subject.score([record(event(1), 0), record(event(1), 1)], FixedModel(), NOW)
    assert len(of(outputs, "scored")) == 1
    assert subject.state.counts.duplicates == 1


def test_a_label_joins_the_features_and_score_of_its_prediction() -> None:
    subject = scorer()
    subject.score([record(event(30))], FixedModel(version=3), NOW)
    outputs = subject.join([record(label(30, fraud=True))], FixedModel(version=9), NOW)
    (example,) = of(outputs, "examples")
    expected = Example(
        "e30", NOW, NOW + HOUR, True, 0.3, 3, {"amount": 30.0, "domestic": True}, "f" * 16,
        partition=0,
    )  # fmt: skip
    assert Example.decode(example.value or b"") == expected


@pytest.mark.parametrize("is_early", [False, True])
def test_an_example_names_the_source_of_its_label(is_early: bool) -> None:
    declared = small_pipeline()
    source = Source(topic="verdicts", start="earliest")
    subject = scorer(replace(declared, label=replace(declared.label, sources=(source,))))
    position = SourcePosition("verdicts", 0, 7, NOW).header()
    sent = record(label(30))._replace(headers=[(SOURCE, position)])
    outputs = subject.join([sent], FixedModel(), NOW) if is_early else []
    outputs += subject.score([record(event(30))], FixedModel(), NOW)
    outputs += [] if is_early else subject.join([sent], FixedModel(), NOW)
    (example,) = of(outputs, "examples")
    assert label_source(Example.decode(example.value or b"")) == "verdicts"
    assert orjson.loads(example.value or b"")["label_source"] == "verdicts"


@pytest.mark.parametrize("is_early", [False, True])
def test_score_and_example_say_where_their_event_came_from(is_early: bool) -> None:
    declared = replace(small_pipeline(), sources=(Source(topic="shop", start="earliest"),))
    value = compile_writer(declared.schema, 7)(event(30))
    position = SourcePosition("shop", 4, 17, NOW)
    from_shop = record(event(30))._replace(value=value, headers=[(SOURCE, position.header())])
    schemas: Schemas = {7: compile_reader(declared.schema)}
    subject = scorer(declared)
    outputs = subject.join([record(label(30))], FixedModel(), NOW) if is_early else []
    outputs += subject.score([from_shop, record(event(31))], FixedModel(), NOW, schemas)
    outputs += subject.join([record(label(30)), record(label(31))], FixedModel(), NOW)
    shop, sent = (orjson.loads(one.value or b"") for one in of(outputs, "scored"))
    assert (shop["origin"], shop["schema_id"]) == (
        {"source": "shop", "partition": 4, "offset": 17},
        "7",
    )
    assert (sent["origin"], sent["schema_id"]) == (None, None)
    found = [Example.decode(one.value or b"") for one in of(outputs, "examples")]
    assert [(one.event_source, one.schema_id, one.partition) for one in found] == [
        ("shop", "7", 0),
        (None, None, 0),
    ]


def test_a_label_before_its_event_waits_for_it() -> None:
    subject = scorer()
    assert of(subject.join([record(label(1))], FixedModel(), NOW), "examples") == []
    assert subject.state.counts.waiting == 1
    assert len(of(subject.score([record(event(1))], FixedModel(), NOW), "examples")) == 1
    assert (subject.state.counts.waiting, subject.state.counts.joined) == (0, 1)


def test_a_second_label_is_counted_as_a_duplicate_before_and_after_its_event() -> None:
    subject = scorer()
    subject.join([record(label(1)), record(label(1))], FixedModel(), NOW)
    subject.score([record(event(1))], FixedModel(), NOW)
    outputs = subject.join([record(label(1))], FixedModel(), NOW)
    assert of(outputs, "examples") == []
    assert subject.state.counts.label_duplicates == 2


def test_a_prediction_whose_label_never_comes_expires() -> None:
    subject = scorer()
    subject.score([record(event(1))], FixedModel(), NOW)
    subject.score([record(event(2, at=NOW + 31 * HOUR))], FixedModel(), NOW + 31 * HOUR)
    subject.join([record(label(2, known_at=NOW + 31 * HOUR))], FixedModel(), NOW + 31 * HOUR)
    seen(subject, NOW + 31 * HOUR, NOW + 31 * HOUR)
    assert subject.state.counts.expired == 1
    assert "e1" not in subject.state.entries


def test_many_expired_entries_are_closed_over_several_calls() -> None:
    working = scorer(max_entries=10_000)
    count = 2 * MAX_EXPIRED_PER_CALL + 1
    working.score([record(event(number), number) for number in range(count)], FixedModel(), NOW)
    working.state.clock.events.promise(NOW + 3 * DAY)
    working.state.clock.labels.promise(NOW + 3 * DAY)
    closed = []
    while working.expire(FixedModel(), NOW):
        closed.append(working.state.counts.expired)
    assert closed == [MAX_EXPIRED_PER_CALL, 2 * MAX_EXPIRED_PER_CALL, count]
    assert working.state.counts.expired == count


def test_a_backlog_of_labels_expires_nothing() -> None:
    subject = scorer()
    subject.score([record(event(1))], FixedModel(), NOW + 90 * HOUR)
    seen(subject, NOW + 90 * HOUR, NOW + 30 * HOUR)
    assert subject.state.counts.expired == 0
    seen(subject, NOW + 90 * HOUR, NOW + 31 * HOUR)
    assert subject.state.counts.expired == 1


def test_a_label_after_the_horizon_is_counted_as_expired() -> None:
    subject = scorer()
    subject.score([record(event(1))], FixedModel(), NOW)
    assert (
        of(
            subject.join([record(label(1, known_at=NOW + 25 * HOUR))], FixedModel(), NOW + DAY),
            "examples",
        )
        == []
    )
    assert (subject.state.counts.label_expired, subject.state.counts.pending) == (1, 1)


def test_a_label_whose_event_never_comes_is_a_dead_letter_with_its_bytes_untouched() -> None:
    subject = scorer()
    sent = record(
        label(1, known_at=NOW), 4, topic="payments.labels", headers=[("x", b"\xff"), ("y", None)]
    )
    subject.join([sent], FixedModel(), NOW)
    outputs = seen(subject, NOW + 7 * HOUR, NOW + 7 * HOUR)
    (dead,) = of(outputs, "labels.dlq")
    assert (code(dead), dead.key, dead.value) == ("unknown-event", sent.key, sent.value)
    assert list(dead.headers[:2]) == [("x", b"\xff"), ("y", None)]
    assert dict(dead.headers)["stream-app-original-offset"] == b"4"


def message(output: Output) -> str:
    return own_header_texts(output.headers)["stream-app-error-message"]


def seen(working: Scorer, events_to: int, labels_to: int) -> list[Output]:
    """Move the watermarks and the clock; return the outputs."""
    working.state.clock.events.promise(events_to)
    working.state.clock.labels.promise(labels_to)
    return working.expire(FixedModel(), events_to)


@pytest.mark.parametrize(
    ("events_to", "labels_to", "mover"), [(31, 40, "events"), (40, 31, "labels")]
)
def test_a_label_in_time_for_a_closed_prediction_says_what_closed_it(
    events_to: int, labels_to: int, mover: str
) -> None:
    working = scorer()
    working.score([record(event(1))], FixedModel(), NOW)
    seen(working, NOW + events_to * HOUR, NOW + labels_to * HOUR)
    assert working.state.counts.expired == 1
    (dead,) = of(working.join([record(label(1))], FixedModel(), NOW + 50 * HOUR), "labels.dlq")
    assert code(dead) == "label-too-late"
    for part in (
        f"event time was moved to 2023-11-16T05:13:20.000+00:00 by the watermark of {mover}",
        "An allowed_lateness of 30 h 00 min 00.000 s instead of 6 h 00 min 00.000 s would",
    ):
        assert part in message(dead)
    counts = working.state.counts
    assert (counts.labels, counts.label_expired, counts.label_dead.total()) == (1, 0, 1)


def test_the_lateness_that_the_message_names_keeps_the_prediction_open() -> None:
    working = scorer()
    working.state.lateness, working.state.retention = 30 * HOUR, 54 * HOUR
    working.score([record(event(1))], FixedModel(), NOW)
    seen(working, NOW + 31 * HOUR, NOW + 40 * HOUR)
    assert of(working.join([record(label(1))], FixedModel(), NOW + 50 * HOUR), "examples")


def test_a_restored_state_still_knows_what_moved_its_clock() -> None:
    working = scorer()
    seen(working, NOW + 40 * HOUR, NOW + 31 * HOUR)
    restored = PartitionState(0, DAY, 6 * HOUR)
    restored.restore((one.key, one.value) for one in working.state.final_records())
    assert restored.clock.mover == "labels"


def test_a_label_that_a_full_state_closes_says_so() -> None:
    working = scorer(max_entries=1)
    working.join([record(label(1))], FixedModel(), NOW)
    outputs = working.join([record(label(2, known_at=NOW + 2 * HOUR))], FixedModel(), NOW)
    (dead,) = of(outputs, "labels.dlq")
    assert code(dead) == "unknown-event"
    assert "the state was full (STREAM_APP_WORKER__MAX_STATE_ENTRIES) before" in message(dead)
    assert working.state.counts.evicted == {"waiting labels": 1}
    assert "state-full" in working.state.alarms.open


def test_failures_of_lateness_have_the_same_fingerprint_whatever_the_times() -> None:
    def failed(hours: int) -> str:
        working = scorer()
        seen(working, NOW + hours * HOUR, NOW + hours * HOUR)
        (dead,) = of(working.join([record(label(1))], FixedModel(), NOW), "labels.dlq")
        return own_header_texts(dead.headers)["stream-app-error-fingerprint"]

    assert failed(31) == failed(12_345)


def test_replayed_labels_are_counted_by_outcome() -> None:
    working = scorer()
    replayed = as_replayed("payments.raw")
    working.score([record(event(1))], FixedModel(), NOW)
    sent = [
        record(label(1, known_at=NOW + 25 * HOUR), headers=replayed),
        record(label(1), headers=replayed),
        record(label(1), headers=replayed),
        record(label(2), headers=replayed),
        record(label(3), headers=replayed),
        record(label(3)),
    ]
    working.join(sent, FixedModel(), NOW + DAY)
    working.score([record(event(3))], FixedModel(), NOW)
    assert working.state.replayed_labels.as_dict() == {
        "0123456789": {"expired": 1, "joined": 2, "duplicate": 1, "waiting": 1}
    }


def test_an_event_that_is_too_late_says_by_how_much() -> None:
    working = scorer()
    seen(working, NOW + 31 * HOUR, NOW + 31 * HOUR)
    (dead,) = of(working.score([record(event(1))], FixedModel(), NOW), "raw.dlq")
    assert message(dead).startswith(
        "the event came 1 h 00 min 00.000 s later than horizon + allowed_lateness allow; "
        "event time was moved to 2023-11-16T05:13:20.000+00:00 by the watermark of events"
    )


def test_a_late_record_whose_time_seems_to_be_in_seconds_says_so() -> None:
    working = scorer()
    seen(working, NOW, NOW)
    (event_dead,) = of(working.score([record(event(1, NOW // 1000))], FixedModel(), NOW), "raw.dlq")
    (label_dead,) = of(
        working.join([record(label(1, NOW // 1000))], FixedModel(), NOW), "labels.dlq"
    )
    for dead in (event_dead, label_dead):
        assert (
            "is in January 1970, as if its unit were wrong by a factor of 1,000 or more"
            in message(dead)
        )


def test_an_event_older_than_the_retention_is_a_dead_letter() -> None:
    subject = scorer()
    seen(subject, NOW + 90 * HOUR, NOW + 90 * HOUR)
    assert (
        code(of(subject.score([record(event(2))], FixedModel(), NOW), "raw.dlq")[0])
        == "event-too-late"
    )


class RaisingModel(FixedModel):
    def score(self, features: Features) -> float:
        raise ValueError(str(features))


class NanModel(FixedModel):
    def score(self, features: Features) -> float:
        return float("nan")


@pytest.mark.parametrize(
    ("sent", "model", "expected"),
    [
        (record(b"{"), FixedModel(), "invalid-json"),
        (record(None), FixedModel(), "empty-value"),
        (record(b""), FixedModel(), "empty-value"),
        (record(b"[1]"), FixedModel(), "not-an-object"),
        (record(b'{"id":"e1","at":1,"amount":NaN}'), FixedModel(), "not-finite"),
        (record(b'{"id":"e1","at":1,"amount":-Infinity}'), FixedModel(), "not-finite"),
        (record({"id": "e1", "at": NOW}), FixedModel(), "missing-field"),
        (record(event(1, amount="many")), FixedModel(), "wrong-type"),
        (record(event(1), key=None), FixedModel(), "missing-key"),
        (record(event(1), key=b"e2"), FixedModel(), "key-mismatch"),
        (record(event(1, at=NOW + 3 * DAY)), FixedModel(), "event-in-future"),
        (record(event(1)), RaisingModel(), "model-failed"),
        (record(event(1)), NanModel(), "score-invalid"),
        (record(event(1, id="e" + "x" * 49_900)), FixedModel(), "output-too-large"),
    ],
)
def test_a_failed_event_is_a_dead_letter_and_the_next_one_is_scored(
    sent: Record, model: FixedModel, expected: str
) -> None:
    subject = scorer()
    outputs = subject.score([sent], model, NOW)
    (dead,) = of(outputs, "raw.dlq")
    assert (code(dead), dead.key, dead.value) == (expected, sent.key, sent.value)
    assert subject.state.counts.dead == {expected: 1}
    assert b"domestic" not in b"".join(content or b"" for _, content in dead.headers)
    assert len(of(subject.score([record(event(2))], FixedModel(), NOW), "scored")) == 1


def test_a_dead_letter_that_is_too_large_names_the_original_offset() -> None:
    outputs = scorer().score(
        [record(b"?" * 400_000, 7, headers=[("junk", b"x" * 9000)])], FixedModel(), NOW
    )
    (dead,) = of(outputs, "raw.dlq")
    headers = dict(dead.headers)
    assert (dead.value, headers["stream-app-error-code"], headers["stream-app-original-size"]) == (
        None,
        b"invalid-json",
        b"400000",
    )
    assert (headers["stream-app-original-topic"], headers["stream-app-original-offset"]) == (
        b"payments.raw",
        b"7",
    )


@pytest.mark.parametrize("content", [b"9" * 5000, b"\xff" * 900_000, b"-1", b""])
def test_malformed_headers_of_an_earlier_failure_are_ignored(content: bytes) -> None:
    sent = record(
        b"?", headers=[("stream-app-error-attempts", content), ("stream-app-replay-id", content)]
    )
    (dead,) = of(scorer().score([sent], FixedModel(), NOW), "raw.dlq")
    assert dict(dead.headers)["stream-app-error-attempts"] == b"1"


FOREIGN: list[tuple[str, Any]] = [
    ("error-code", b"mine"),
    ("original-topic", b"mine"),
    ("replay-id", b"mine"),
    ("replay-learn", b"no"),
    ("n\\xe4me", None),
]


def test_headers_of_the_producer_stay_on_the_dead_letter() -> None:
    (dead,) = of(scorer().score([record(b"?", headers=FOREIGN)], FixedModel(), NOW), "raw.dlq")
    assert [one for one in dead.headers if not one[0].startswith("stream-app-")] == FOREIGN


def test_a_forged_header_of_the_program_is_not_believed() -> None:
    forged = [
        ("stream-app-replay-learn", b"no"),
        ("stream-app-original-topic", b"other"),
        ("stream-app-error-attempts", b"9"),
        ("stream-app-other", b"x"),
    ]
    subject = scorer()
    subject.score([record(event(1), headers=forged)], FixedModel(), NOW)
    (example,) = of(subject.join([record(label(1))], FixedModel(), NOW), "examples")
    assert subject.state.counts.unlearned == 0
    assert example.value is not None
    (dead,) = of(subject.score([record(b"?", headers=forged)], FixedModel(), NOW), "raw.dlq")
    found = dict(dead.headers)
    assert found["stream-app-original-topic"] == b"payments.raw"
    assert found["stream-app-error-attempts"] == b"1"
    assert not {"stream-app-replay-learn", "stream-app-other"} & found.keys()


def test_a_replay_decides_that_an_event_is_not_learned() -> None:
    subject = scorer()
    sent = record(event(1), headers=[("stream-app-replay-learn", b"no")])
    subject.score([sent._replace(topic="payments.raw.replay")], FixedModel(), NOW)
    assert not of(subject.join([record(label(1))], FixedModel(), NOW), "examples")
    assert subject.state.counts.unlearned == 1


def test_an_outcome_that_does_not_fit_into_its_topic_has_no_label() -> None:
    subject = scorer(max_bytes=10_000)
    size = 10_000 + ENVELOPE_BYTES
    sent = record({**label(1), "id": "x" * size}, key=b"x" * size)
    (letter, outcome) = subject.join([sent], FixedModel(), NOW + 90 * HOUR)
    assert code(letter) == "output-too-large"
    found = orjson.loads(outcome.value or b"")
    assert (found["event_id"], found["label"]) == (None, None)
    assert found["error_code"] == "output-too-large"
    assert outcome.key == b"x" * 1024


def test_an_unreadable_record_is_a_dead_letter_without_bytes() -> None:
    lost = UnreadableRecord("payments.raw", 0, 17, -1, None, None)
    (dead,) = scorer().score([lost], FixedModel(), NOW)
    assert (dead.topic, dead.value, code(dead)) == ("raw.dlq", None, "unreadable-record")
    assert dict(dead.headers)["stream-app-original-offset"] == b"17"
    dead, outcome = scorer().join([lost], FixedModel(), NOW)
    assert (dead.topic, code(dead)) == ("labels.dlq", "unreadable-record")
    assert outcome.topic == "label_outcomes"


def test_an_event_time_in_the_future_expires_nothing() -> None:
    subject = scorer()
    ahead = [record(event(number, at=NOW + 23 * HOUR), number) for number in range(40)]
    subject.score([record(event(99)), *ahead], FixedModel(), NOW)
    seen(subject, NOW, NOW + DAY)
    assert subject.state.clock.time == NOW


def test_an_event_forgotten_by_a_full_state_is_rejected_when_it_comes_again() -> None:
    subject = scorer(max_entries=10)
    events = [record(event(number, at=NOW + number)) for number in range(30)]
    subject.score(events, FixedModel(), NOW + HOUR)
    subject.score(events, FixedModel(), NOW + HOUR)
    assert subject.state.counts.scored == 30
    assert subject.state.counts.dead == {"event-too-late": 20}
    assert subject.state.counts.evicted == {"open predictions": 20}


def test_a_corrected_event_is_scored_after_a_failure() -> None:
    subject = scorer()
    subject.score([record(event(1))], RaisingModel(), NOW)
    assert len(of(subject.score([record(event(1))], FixedModel(), NOW), "scored")) == 1


def test_the_oldest_entries_are_closed_when_the_state_is_full() -> None:
    subject = scorer(max_entries=3)
    subject.score(
        [record(event(number, at=NOW + number)) for number in range(5)], FixedModel(), NOW + HOUR
    )
    assert list(subject.state.entries) == ["e2", "e3", "e4"]
    assert (subject.state.counts.expired, subject.state.counts.pending) == (2, 3)


def restored(subject: Scorer, changelog: list[Output]) -> PartitionState:
    state = PartitionState(0, horizon=subject.state.horizon, lateness=subject.state.lateness)
    state.restore((output.key, output.value) for output in changelog)
    return state


actions = st.lists(
    st.tuples(
        st.sampled_from(["event", "label", "bad", "bad label"]),
        st.integers(0, 12),
        st.integers(0, 60),
    ),
    max_size=60,
)


@given(actions)
def test_every_record_has_one_outcome_and_the_changelog_restores_the_state(
    actions: list[tuple[str, int, int]],
) -> None:
    subject = scorer()
    changelog: list[Output] = []
    events = labels = 0
    for kind, number, hours in actions:
        at = NOW + hours * HOUR
        if kind in ("event", "bad"):
            events += 1
            sent = (
                record(event(number, at=NOW + number * HOUR)) if kind == "event" else record(b"?")
            )
            outputs = subject.score([sent], FixedModel(), NOW + 90 * HOUR)
        else:
            labels += 1
            sent = record(label(number, known_at=at)) if kind == "label" else record(b"?")
            outputs = subject.join([sent], FixedModel(), NOW + 90 * HOUR)
        changelog += [*of(outputs, "score.state"), *subject.state.final_records()]
    counts = subject.state.counts
    assert (counts.events, counts.labels) == (events, labels)
    assert counts.scored == counts.closed_or_pending
    copy = restored(subject, changelog)
    assert (copy.entries, copy.counts) == (subject.state.entries, counts)
    assert copy.clock.as_dict() == subject.state.clock.as_dict()
    assert copy.oldest_event == subject.state.oldest_event


@given(st.randoms(use_true_random=False), st.integers(1, 25))
def test_any_interleaving_of_events_and_labels_gives_the_same_examples(
    random: Any, count: int
) -> None:
    events = [record(event(number, at=NOW + number * 60_000), number) for number in range(count)]
    labels = [
        record(label(number, known_at=NOW + number * 60_000 + HOUR)) for number in range(count)
    ]

    def examples(order: list[str]) -> set[bytes | None]:
        subject, sources = scorer(), {"event": iter(events), "label": iter(labels)}
        outputs: list[Output] = []
        for kind in order:
            work = subject.score if kind == "event" else subject.join
            outputs += work([next(sources[kind])], FixedModel(), NOW + 2 * DAY)
        return {output.value for output in of(outputs, "examples")}

    straight = ["event"] * count + ["label"] * count
    shuffled = straight.copy()
    random.shuffle(shuffled)
    assert examples(shuffled) == examples(straight)
    assert len(examples(straight)) == count
