"""Failures that heal, on a real broker: tried again, paused for, or answered by a fallback, and each of it told."""

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

OUTSIDE = Path(__file__).parent


def features(fields):
    if (OUTSIDE / "down").exists():
        raise TransientError("no answer")
    if (OUTSIDE / "broken").exists():
        raise KeyError("a mistake in a table that is looked up")
    if fields["amount"] < 0:
        os.abort()
    return {"amount": fields["amount"]}


class Moody(linear_model.LogisticRegression):
    learned = 0

    def learn_one(self, x, y):
        self.learned += 1
        super().learn_one(x, y)

    def predict_proba_one(self, x):
        if (OUTSIDE / "moody").exists() or self.learned > MOST:
            raise ValueError("not today")
        return super().predict_proba_one(x)


pipeline = small_pipeline(
    "NAME",
    features=features,
    model=Moody,
    retry=Retry(max_attempts=ATTEMPTS, initial_delay=timedelta(seconds=0.2), max_delay=timedelta(seconds=0.5)),
    breaker=Breaker(consecutive=50, probe=10, pause=timedelta(seconds=1), max_pause=timedelta(seconds=2)),
    fallback=Fallback(score=0.25),
)
"""


class Outside:
    """What the pipeline's functions look at."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def set(self, trouble: str, lasts: bool) -> None:
        if lasts:
            (self._folder / trouble).touch()
        else:
            (self._folder / trouble).unlink()


def started(broker: EmbeddedBroker, folder: Path, attempts: int = 100, most: int = 10**6) -> System:
    """Its model answers until it has learned the `most` examples."""
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


def told(system: System, kind: str) -> list[tuple[str, str, bool]]:
    """Name, cause and whether it lasts, of every measurement of a kind."""
    found = [value for value in system.values("monitoring") if value["kind"] == kind]
    return [(value["name"], value["reference"], value["breached"]) for value in found]


def scored_ids(system: System) -> set[str]:
    return {value["event_id"] for value in system.values("scored")}


def test_what_fails_for_a_reason_outside_is_scored_when_that_is_over_also_by_another_worker(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    outside = Outside(tmp_path)
    with started(broker, tmp_path) as system:
        outside.set("down", lasts=True)
        send(system, 0, 20)
        system.until(lambda: system.books().retrying == 20, 60, "nothing waits")
        assert system.read("scored") == system.read("raw.dlq") == []
        system.kill("score-0")
        system.start("score")
        send(system, 20, 30)
        system.until(lambda: system.books().retrying == 30, 60, "not all wait")
        outside.set("down", lasts=False)
        system.until(lambda: system.books().scored == 30, 30, "not all are scored")
        system.check_outcomes()
        assert scored_ids(system) == {f"e{number}" for number in range(30)}
        assert ("retry", "features-unavailable", False) in told(system, "corrective_action")


@pytest.mark.faults
def test_a_record_that_crashes_when_it_is_tried_again_is_one_dead_letter(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    """Its offset was committed long ago, so only the state knows that it is still to be worked on."""
    outside = Outside(tmp_path)
    with started(broker, tmp_path, attempts=1000) as system, Restarting(system) as restarting:
        outside.set("down", lasts=True)
        send(system, 0, 10)
        system.send_event(500, NOW, amount=-1.0)
        send(system, 10, 20)
        system.until(lambda: system.books().retrying == 21, 60, "not all wait")
        outside.set("down", lasts=False)
        system.until(lambda: system.books().scored == 20, 90, "not all others are scored")
        system.until(lambda: system.books().retrying == 0, 60, "it still waits to be tried again")
        assert system.books().dead == {"record-crashes": 1}
        assert len(restarting.deaths) == 1
        system.check_outcomes()


def test_after_the_last_try_it_is_a_dead_letter_that_says_how_often(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    Outside(tmp_path).set("down", lasts=True)
    with started(broker, tmp_path, attempts=3) as system:
        send(system, 0, 5)
        system.until(lambda: len(system.read("raw.dlq")) == 5, 60, "no dead letters")
        system.check_outcomes()
        letters = [headers(message) for message in system.read("raw.dlq")]
        assert {
            (one["error-code"], one["error-class"], one["error-attempts"]) for one in letters
        } == {("features-unavailable", "transient", "3")}
        assert all(one["error-first-failed-at"] < one["error-last-failed-at"] for one in letters)


def test_a_topic_is_not_poured_into_dead_letters_and_goes_on_when_the_cause_is_gone(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    outside = Outside(tmp_path)
    with started(broker, tmp_path) as system:
        outside.set("broken", lasts=True)
        send(system, 0, 2000)
        system.until(
            lambda: ("breaker-open", "features-failed", True) in told(system, "alarm"),
            60,
            "no alarm",
        )
        for number in range(5):
            system.send_label(number, NOW + 1000)
        system.producer.flush(30)
        system.until(lambda: system.books().waiting == 5, 30, "labels are not read meanwhile")
        dead = len(system.read("raw.dlq"))
        assert 50 <= dead <= 250
        outside.set("broken", lasts=False)
        books = system.settle()
        assert books.dead.total() <= dead + 20
        system.check_outcomes()
        system.until(
            lambda: ("breaker-open", "features-failed", False) in told(system, "alarm"),
            30,
            "it lasts",
        )
        actions = {name for name, _, _ in told(system, "corrective_action")}
        assert {"breaker-open", "breaker-close"} <= actions


def test_where_the_events_are_at_fault_the_good_ones_behind_them_are_reached(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    with started(broker, tmp_path) as system:
        for number in range(300):
            system.send("raw", b"{broken", f"e{number}".encode())
        send(system, 1000, 1020)
        system.until(lambda: system.books().scored == 20, 60, "the good ones are not reached")
        books = system.settle()
        assert books.dead == {"invalid-json": 300}
        system.check_outcomes()


def test_a_model_that_fails_is_stood_in_for_and_the_predictions_say_so(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    outside = Outside(tmp_path)
    with started(broker, tmp_path) as system:
        send(system, 0, 5)
        system.until(lambda: system.books().scored == 5, 60, "not scored")
        outside.set("moody", lasts=True)
        send(system, 5, 15)
        system.until(lambda: system.books().degraded == 10, 60, "no fallback")
        degraded = [value for value in system.values("scored") if value["degraded"]]
        assert {(one["degraded"], one["score"], one["model"]["version"]) for one in degraded} == {
            ("rule", 0.25, -1)
        }
        assert system.read("raw.dlq") == []
        system.until(
            lambda: ("degraded", "model-failed", True) in told(system, "alarm"), 30, "no alarm"
        )
        outside.set("moody", lasts=False)

        def well_again() -> bool:
            send(system, system.sent["raw"], system.sent["raw"] + 1)
            return ("degraded", "model-failed", False) in told(system, "alarm")

        system.until(well_again, 60, "the alarm lasts")
        assert ("fallback", "model-failed", False) in told(system, "corrective_action")
        system.check_outcomes()


@pytest.mark.faults
def test_versions_that_fail_are_stood_in_for_by_the_last_that_served_well_also_after_a_restart(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    with started(broker, tmp_path, most=20) as system:

        def learn(first: int, last: int) -> None:
            send(system, first, last)
            for number in range(first, last):
                system.send_label(number, NOW + 1000)
            system.settle()
            system.until(lambda: system.learned() == system.sent["labels"], 60, "not learned")

        def serves(version: int, degraded: str | None) -> bool:
            sent = system.sent["raw"]
            send(system, sent, sent + 1)
            system.settle()
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
                lambda: serves(good, "last-good"), 60, "the good version does not stand in"
            )
            system.terminate("score-0")
            system.start("score")
        assert system.settle().dead == {}
        system.check_outcomes()
