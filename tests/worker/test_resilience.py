"""Temporary failures lead to retries, an open circuit breaker or a fallback, and are published."""

from pathlib import Path
from uuid import uuid4

import pytest

from stream_app.broker import EmbeddedBroker
from tests.running_system import System, headers
from tests.small_pipeline import NOW
from tests.worker.poison import Restarting

pytestmark = pytest.mark.broker

DECLARED = """
import os
from datetime import timedelta
from pathlib import Path

from river import linear_model

from stream_app import Breaker, Fallback, Retry, TransientError
from tests.small_pipeline import small_pipeline

EXTERNAL = Path(__file__).parent


def features(fields):
    if (EXTERNAL / "down").exists():
        raise TransientError("no answer")
    if (EXTERNAL / "broken").exists():
        raise KeyError("a mistake in a table that is looked up")
    if fields["amount"] < 0:
        os.abort()
    return {"amount": fields["amount"]}


class FailingModel(linear_model.LogisticRegression):
    learned = 0

    def learn_one(self, x, y):
        self.learned += 1
        super().learn_one(x, y)

    def predict_proba_one(self, x):
        if (EXTERNAL / "model-fails").exists() or self.learned > MOST:
            raise ValueError("not today")
        return super().predict_proba_one(x)


pipeline = small_pipeline(
    "NAME",
    features=features,
    model=FailingModel,
    retry=Retry(
        max_attempts=ATTEMPTS,
        initial_delay=timedelta(seconds=0.2),
        max_delay=timedelta(seconds=0.5),
    ),
    breaker=Breaker(
        consecutive=50, probe=10, pause=timedelta(seconds=1), max_pause=timedelta(seconds=2)
    ),
    fallback=Fallback(score=0.25),
)
"""


class ExternalSystem:
    """Switches of failures that the pipeline's functions check."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def set(self, failure: str, fails: bool) -> None:
        if fails:
            (self._folder / failure).touch()
        else:
            (self._folder / failure).unlink()


def started(broker: EmbeddedBroker, folder: Path, attempts: int = 100, most: int = 10**6) -> System:
    """Start a system whose model fails once it has learned more than `most` examples."""
    source = DECLARED.replace("ATTEMPTS", str(attempts)).replace("MOST", str(most))
    system = System(
        broker.bootstrap_servers, folder, f"heals-{uuid4().hex[:8]}", source, partitions=1
    )
    system.start_all()
    return system


def send(system: System, first: int, last: int) -> None:
    for number in range(first, last):
        system.send_event(number, NOW + number)
    system.producer.flush(30)


def measurements(system: System, kind: str) -> list[tuple[str, str, bool]]:
    """Return name, cause and `breached` of every measurement of a kind."""
    found = [value for value in system.values("monitoring") if value["kind"] == kind]
    return [(value["name"], value["reference"], value["breached"]) for value in found]


def scored_ids(system: System) -> set[str]:
    return {value["event_id"] for value in system.values("scored")}


def test_events_with_a_transient_failure_are_scored_after_it_even_by_another_worker(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    external = ExternalSystem(tmp_path)
    with started(broker, tmp_path) as system:
        external.set("down", fails=True)
        send(system, 0, 20)
        system.until(lambda: system.record_counts().retrying == 20, 60, "nothing waits")
        assert system.read("scored") == system.read("raw.dlq") == []
        system.kill("score-0")
        system.start("score")
        send(system, 20, 30)
        system.until(lambda: system.record_counts().retrying == 30, 60, "not all wait")
        external.set("down", fails=False)
        system.until(lambda: system.record_counts().scored == 30, 30, "not all are scored")
        system.check_outcomes()
        assert scored_ids(system) == {f"e{number}" for number in range(30)}
        assert ("retry", "features-unavailable", False) in measurements(system, "corrective_action")


@pytest.mark.faults
def test_a_record_that_crashes_during_its_retry_becomes_one_dead_letter(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    """Its offset is committed, so only the state contains the record."""
    external = ExternalSystem(tmp_path)
    with started(broker, tmp_path, attempts=1000) as system, Restarting(system) as restarting:
        external.set("down", fails=True)
        send(system, 0, 10)
        system.send_event(500, NOW, amount=-1.0)
        send(system, 10, 20)
        system.until(lambda: system.record_counts().retrying == 21, 60, "not all wait")
        external.set("down", fails=False)
        system.until(lambda: system.record_counts().scored == 20, 90, "not all others are scored")
        system.until(
            lambda: system.record_counts().retrying == 0, 60, "an event still waits for its retry"
        )
        assert system.record_counts().dead == {"record-crashes": 1}
        assert len(restarting.exit_codes) == 1
        system.check_outcomes()


def test_the_dead_letter_after_the_last_attempt_names_the_number_of_attempts(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    ExternalSystem(tmp_path).set("down", fails=True)
    with started(broker, tmp_path, attempts=3) as system:
        send(system, 0, 5)
        system.until(lambda: len(system.read("raw.dlq")) == 5, 60, "no dead letters")
        system.check_outcomes()
        found = [headers(message) for message in system.read("raw.dlq")]
        assert {
            (
                one["stream-app-error-code"],
                one["stream-app-error-class"],
                one["stream-app-error-attempts"],
            )
            for one in found
        } == {("features-unavailable", "transient", "3")}
        assert all(
            one["stream-app-error-first-failed-at"] < one["stream-app-error-last-failed-at"]
            for one in found
        )


def test_an_open_circuit_breaker_limits_dead_letters_and_closes_after_the_failure(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    external = ExternalSystem(tmp_path)
    with started(broker, tmp_path) as system:
        external.set("broken", fails=True)
        send(system, 0, 2000)
        system.until(
            lambda: ("breaker-open", "features-failed", True) in measurements(system, "alarm"),
            60,
            "no alarm",
        )
        for number in range(5):
            system.send_label(number, NOW + 1000)
        system.producer.flush(30)
        system.until(
            lambda: system.record_counts().waiting == 5,
            30,
            "labels are not read while the breaker is open",
        )
        dead = len(system.read("raw.dlq"))
        assert 50 <= dead <= 250
        external.set("broken", fails=False)
        counts = system.await_outcomes()
        assert counts.dead.total() <= dead + 20
        system.check_outcomes()
        system.until(
            lambda: ("breaker-open", "features-failed", False) in measurements(system, "alarm"),
            30,
            "the alarm lasts",
        )
        actions = {name for name, _, _ in measurements(system, "corrective_action")}
        assert {"breaker-open", "breaker-close"} <= actions


def test_good_events_behind_many_broken_ones_are_scored(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    with started(broker, tmp_path) as system:
        for number in range(300):
            system.send("raw", b"{broken", f"e{number}".encode())
        send(system, 1000, 1020)
        system.until(
            lambda: system.record_counts().scored == 20, 60, "the good events are not scored"
        )
        counts = system.await_outcomes()
        assert counts.dead == {"invalid-json": 300}
        system.check_outcomes()


def test_predictions_of_the_fallback_are_marked_as_degraded(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    external = ExternalSystem(tmp_path)
    with started(broker, tmp_path) as system:
        send(system, 0, 5)
        system.until(lambda: system.record_counts().scored == 5, 60, "not scored")
        external.set("model-fails", fails=True)
        send(system, 5, 15)
        system.until(lambda: system.record_counts().degraded == 10, 60, "no fallback")
        degraded = [value for value in system.values("scored") if value["degraded"]]
        assert {(one["degraded"], one["score"], one["model"]["version"]) for one in degraded} == {
            ("rule", 0.25, -1)
        }
        assert system.read("raw.dlq") == []
        system.until(
            lambda: ("degraded", "model-failed", True) in measurements(system, "alarm"),
            30,
            "no alarm",
        )
        external.set("model-fails", fails=False)

        def has_recovered() -> bool:
            send(system, system.sent["raw"], system.sent["raw"] + 1)
            return ("degraded", "model-failed", False) in measurements(system, "alarm")

        system.until(has_recovered, 60, "the alarm lasts")
        assert ("fallback", "model-failed", False) in measurements(system, "corrective_action")
        system.check_outcomes()


@pytest.mark.faults
def test_failing_versions_are_replaced_by_the_last_good_one_even_after_a_restart(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    with started(broker, tmp_path, most=20) as system:

        def learn(first: int, last: int) -> None:
            send(system, first, last)
            for number in range(first, last):
                system.send_label(number, NOW + 1000)
            system.await_outcomes()
            system.until(lambda: system.learned() == system.sent["labels"], 60, "not learned")

        def serves(version: int, degraded: str | None) -> bool:
            sent = system.sent["raw"]
            send(system, sent, sent + 1)
            system.await_outcomes()
            newest = system.values("scored")[-1]
            return (newest["model"]["version"], newest["degraded"]) == (version, degraded)

        learn(0, 20)
        good = int(str(system.values("models")[-1]["version"]))
        system.until(lambda: serves(good, None), 60, "the good version is not served")
        following = system.sent["raw"]
        for first in range(following, following + 15, 5):
            learn(first, first + 5)
        for _ in range(2):
            system.until(
                lambda: serves(good, "last-good"),
                60,
                "the good version does not replace the failing one",
            )
            system.terminate("score-0")
            system.start("score")
        assert system.await_outcomes().dead == {}
        system.check_outcomes()
