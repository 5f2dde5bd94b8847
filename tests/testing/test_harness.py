"""The test harness gives the results of the workers."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from stream_app.errors import ModelError
from stream_app.pipeline import Alarms, Threshold, Thresholds
from stream_app.records import Features, Fields
from stream_app.testing import PipelineHarness
from tests.learning import fits
from tests.running_system import ROOT
from tests.small_pipeline import HOUR, NOW, event, label, small_pipeline

DAY = 24 * HOUR


def small(**changes: Any) -> PipelineHarness:
    return PipelineHarness(small_pipeline(**changes))


def fraudulent(number: int) -> bool:
    return number % 97 > 60


def broken(_: Fields) -> Features:
    raise KeyError("secret")


def test_an_event_is_scored() -> None:
    outcome = small(publish_features=True).event(event(70))
    assert (outcome.kind, outcome.score, outcome.prediction, outcome.model_version) == (
        "scored",
        0.5,
        True,
        0,
    )
    assert outcome.features == {"amount": 70.0, "domestic": True}
    assert outcome.record is not None
    assert fits("scored", dict(outcome.record))
    assert (outcome.error_code, outcome.error_message) == (None, None)


def test_an_outcome_has_the_passed_fields() -> None:
    outcome = small(pass_through=("country", "amount")).event(event(70, country=None))
    assert outcome.fields == {"country": None, "amount": 70.0}
    assert small().event(event(70)).fields is None


@pytest.mark.parametrize(
    ("sent", "options", "code"),
    [
        (b"{", {}, "invalid-json"),
        (None, {}, "empty-value"),
        (event(1, amount="many"), {}, "wrong-type"),
        (event(1, amount=float("nan")), {}, "not-finite"),
        ({"at": NOW, "amount": 1.0}, {}, "missing-field"),
        (event(1), {"key": None}, "missing-key"),
        (event(1), {"key": "other"}, "key-mismatch"),
        ({**event(1), "at": "yesterday"}, {}, "event-time-invalid"),
    ],
)
def test_a_failed_record_has_an_error_code(sent: Any, options: dict[str, Any], code: str) -> None:
    harness = small()
    outcome = harness.event(sent, **options)
    assert (outcome.kind, outcome.error_code, outcome.score) == ("dead-lettered", code, None)
    assert outcome.dead_letter is not None
    assert outcome.dead_letter.remedy
    assert outcome.error_message == outcome.dead_letter.message != ""
    assert harness.record_counts.dead == {code: 1}


def test_an_exception_in_the_users_code_has_file_and_line() -> None:
    dead_letter = small(features=broken).event(event(1)).dead_letter
    assert dead_letter is not None
    assert (dead_letter.code, dead_letter.stage) == ("features-failed", "features")
    assert dead_letter.where is not None
    assert dead_letter.where.startswith("test_harness.py:")
    assert "secret" not in dead_letter.message


def test_bytes_get_the_key_of_the_produce_command() -> None:
    assert small().event(orjson.dumps(event(1))).kind == "scored"


def test_a_label_is_learned_at_once_and_the_next_event_is_scored_by_the_new_version() -> None:
    harness = small()
    harness.event(event(90))
    outcome = harness.label(label(90, fraud=True))
    assert outcome.kind == "joined"
    assert outcome.example is not None
    assert (outcome.example.score, outcome.example.model_version) == (0.5, 0)
    after = harness.event(event(91))
    assert after.model_version == harness.version == harness.learned == 1
    assert after.score is not None
    assert after.score > 0.5
    assert harness.model.predict_proba_one({"amount": 91.0, "domestic": True})[True] == after.score


def test_a_label_has_every_outcome() -> None:
    harness = small()
    harness.event(event(1))
    kinds = [
        harness.label(sent).kind
        for sent in (
            label(2),
            label(2),
            label(1, known_at=NOW + 25 * HOUR),
            label(1),
            label(1),
            b"?",
        )
    ]
    assert kinds == ["waiting", "duplicate", "expired", "joined", "duplicate", "dead-lettered"]
    outcome = harness.event(event(2))
    assert (outcome.kind, outcome.features) == ("scored", {"amount": 2.0, "domestic": True})
    assert (
        harness.record_counts.labels,
        harness.record_counts.joined,
        harness.record_counts.waiting,
    ) == (6, 2, 0)


def test_a_second_event_with_the_same_id_is_a_duplicate() -> None:
    harness = small()
    assert [harness.event(event(1)).kind for _ in range(2)] == ["scored", "duplicate"]


def test_the_clock_follows_the_records_unless_it_is_set() -> None:
    assert small().event(event(1, at=NOW + 900 * DAY)).kind == "scored"
    fixed = PipelineHarness(small_pipeline(), now=datetime.fromtimestamp(NOW / 1000, UTC))
    assert fixed.event(event(1, at=NOW + 3 * DAY)).error_code == "event-in-future"
    fixed.advance(timedelta(days=3))
    outcome = fixed.event(event(1, at=NOW + 3 * DAY))
    assert outcome.record is not None
    assert outcome.record["scored_at"] == NOW + 3 * DAY


def test_a_time_without_a_zone_is_rejected() -> None:
    with pytest.raises(ValueError, match="with a time zone"):
        PipelineHarness(small_pipeline(), now=datetime(2025, 3, 3))


def test_advancing_closes_what_is_due() -> None:
    harness = small()
    harness.event(event(1))
    harness.label(label(2, known_at=NOW))
    harness.advance(timedelta(hours=29))
    assert (harness.record_counts.pending, harness.record_counts.expired) == (1, 0)
    assert [dead_letter.code for dead_letter in harness.dead_letters] == ["unknown-event"]
    harness.advance(timedelta(hours=2))
    assert (harness.record_counts.pending, harness.record_counts.expired) == (0, 1)
    assert harness.event(event(3)).error_code == "event-too-late"


def replayed(harness: PipelineHarness, count: int = 1500, an_hour: int = 12) -> list[float]:
    """Send events at a rate, each with a label an hour later; return the scores."""
    times = [NOW + number * HOUR // an_hour for number in range(count)]
    outcomes = harness.replay(
        [event(number, at) for number, at in enumerate(times)],
        [label(number, at + HOUR, fraudulent(number)) for number, at in enumerate(times)],
    )
    return [outcome.score or 0.0 for outcome in outcomes]


def test_a_replay_learns_each_label_at_its_time() -> None:
    harness = small()
    scores = replayed(harness)
    assert (
        scores[:13] == [0.5] * 13
    )  # no label was known yet, nor at the very moment at which the first became known
    assert scores[13] != 0.5
    assert harness.version == harness.learned == harness.record_counts.joined == 1500
    assert harness.metrics["roc_auc"] > 0.95
    assert harness.metrics["accuracy"] > harness.metrics["majority_accuracy"]


def test_measurements_are_those_of_learner_and_monitor() -> None:
    harness = small(
        thresholds=Thresholds(metrics=(Threshold(metric="log_loss", limit=0.0001),)),
        publish_features=True,
    )
    replayed(harness, 2300, an_hour=6)
    harness.advance(timedelta(days=9))
    assert any(found["breached"] for found in harness.measurements("performance", "log_loss"))
    assert {found["name"] for found in harness.measurements("drift")} == {
        "score", "features.amount", "features.domestic",
    }  # fmt: skip
    coverage = harness.measurements("coverage", "label_coverage")
    assert [found["value"] for found in coverage] == [1.0] * len(coverage)
    assert sum(found["n"] for found in coverage) == 2300
    assert all(fits("monitoring", found) for found in harness.measurements())


def test_alarms_are_those_of_the_monitor() -> None:
    harness = small(alarms=Alarms(false_per_year=300))
    number, few = 0, 15 * 24
    for hour in range(21 * 24):
        for _ in range(1 if few <= hour < few + 24 else 6):
            harness.event(event(number, NOW + hour * HOUR + number % 6))
            number += 1
    first, *_, last = harness.alarms("event-volume")
    assert NOW + few * HOUR <= first["opened_at"] <= NOW + (few + 24) * HOUR
    assert last["id"] == first["id"]
    assert last["closed_at"] >= last["updated_at"] + 3 * DAY
    assert all(fits("alarm", found) for found in harness.alarms())
    assert harness.measurements("alarm", "event-volume") == []


def test_two_runs_are_equal() -> None:
    first, second = small(), small()
    assert replayed(first, 300) == replayed(second, 300)
    assert first.measurements() == second.measurements()


def lambda_model() -> Any:
    from river import linear_model

    return linear_model.LogisticRegression(initializer=lambda: 0.0)


def test_a_model_that_the_learner_rejects_is_an_error() -> None:
    with pytest.raises(ModelError, match="cannot be stored"):
        small(model=lambda_model)


def test_the_plugin_imports_no_broker_until_a_fixture_is_used() -> None:
    program = (
        "import sys, stream_app.testing.plugin\n"
        "heavy = {'river', 'scipy', 'numpy', 'confluent_kafka', 'pydantic', 'psutil'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=60)
