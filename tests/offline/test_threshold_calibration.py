"""Calibration counts the alarms that thresholds would have raised, and proposes limits."""

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Literal

import orjson
import pytest

from stream_app import Threshold, Thresholds
from stream_app.broker import EmbeddedBroker
from stream_app.core.evaluation.evaluator import WindowReport
from stream_app.core.evaluation.thresholds import MetricValues, alarm_name
from stream_app.core.examples import Example
from stream_app.core.learning.control_commands import Control
from stream_app.core.learning.learner import Learner
from stream_app.core.learning.learner_state import LearnedModel
from stream_app.core.published_records import ExampleOffsets
from stream_app.model_store.manifest import Manifest
from stream_app.offline.threshold_calibration import (
    EvaluatedWindow,
    LogEntry,
    ThresholdStep,
    calibrate,
    openings,
    threshold_steps,
)
from stream_app.pipeline import Pipeline
from tests.core.learning.learner_run import control
from tests.learning import FINGERPRINT, HOUR, examples, pipeline
from tests.running_system import System
from tests.transfer.clusters import unique_name

DAY = 86_400_000
LOSS = Threshold(metric="log_loss", limit=0.6)
# Length of a window of examples in milliseconds, and number of its labels.
WINDOW = 6 * HOUR
N = 40


def windows(
    values: Sequence[float | None],
    metric: str = "log_loss",
    offline: MetricValues | None = None,
    **others: float,
) -> list[ThresholdStep]:
    """Returns windows of a day with these values; None is a window with too few labels."""
    reports = [
        WindowReport(
            day * DAY, (day + 1) * DAY, 10 if value is None else 500, 1,
            {metric: value or 0.0, **others}, ExampleOffsets(day, day), {},
        )
        for day, value in enumerate(values)
    ]  # fmt: skip
    return [EvaluatedWindow(report, offline or {}) for report in reports]


def test_alarms_are_those_of_the_learner() -> None:
    values = [0.5, 0.7, 0.7, 0.5, 0.7, None, 0.7, 0.5]
    found = openings(replace(LOSS, windows=2), windows(values))
    assert [(one.start // DAY, one.end // DAY) for one in found] == [(1, 3), (4, 7)]


def test_a_limit_is_proposed_that_alarms_at_most_so_often() -> None:
    values = [0.5 + 0.001 * (day % 7) for day in range(365)]
    values[100], values[200], values[201], values[300] = 0.9, 0.8, 0.81, 0.7
    (found,) = calibrate([LOSS], windows(values), per_year=1.0)
    assert [one.start // DAY for one in found.alarms] == [100, 200, 300]
    assert found.per_year == pytest.approx(3.0)
    assert (found.proposed, found.proposed_alarms) == (0.81, 1)
    assert (found.windows, found.low, found.median, found.high) == (365, 0.5, 0.503, 0.506)
    (two,) = calibrate([LOSS], windows(values), per_year=2.0)
    assert (two.proposed, two.proposed_alarms) == (0.7, 2)
    (none,) = calibrate([LOSS], windows(values), per_year=0.0)
    assert (none.proposed, none.proposed_alarms) == (0.9, 0)


def test_limits_of_other_metrics_are_lower_bounds() -> None:
    values = [0.7 + 0.001 * (day % 5) for day in range(100)]
    values[50] = 0.4567
    threshold = Threshold(metric="roc_auc", limit=0.6)
    (found,) = calibrate([threshold], windows(values, "roc_auc"), per_year=1.0)
    assert (len(found.alarms), found.proposed, found.proposed_alarms) == (1, 0.456, 0)


def test_several_windows_in_a_row_allow_a_tighter_limit() -> None:
    values = [0.5] * 100
    values[10] = 0.9
    values[40:42] = [0.7, 0.75]
    (found,) = calibrate([replace(LOSS, windows=2)], windows(values), per_year=1.0)
    assert (found.alarms[0].end // DAY, found.proposed) == (42, 0.7)


@pytest.mark.parametrize(
    ("metric", "value", "prior", "expected"),
    [("log_loss", 0.5, 0.55, -0.05), ("roc_auc", 0.7, 0.5, -0.2)],
)
def test_against_a_reference_the_limit_is_how_much_worse_it_may_be(
    metric: str, value: float, prior: float, expected: float
) -> None:
    threshold = Threshold(metric=metric, limit=0.0, against="prior")
    steps = windows([value] * 30, metric, None, **{f"prior_{metric}": prior})
    (found,) = calibrate([threshold], steps, per_year=1.0)
    assert found.proposed == pytest.approx(expected, abs=0.001)
    assert found.median == pytest.approx(expected)
    offline = replace(threshold, against="offline")
    known = windows([value] * 30, metric, {metric: prior})
    (of_trained,) = calibrate([offline], known, per_year=1.0)
    assert of_trained.proposed == found.proposed
    (unknown,) = calibrate([offline], steps, per_year=1.0)
    assert (unknown.windows, unknown.proposed, unknown.low) == (0, None, None)


def test_nothing_is_proposed_from_few_windows() -> None:
    (found,) = calibrate([LOSS], windows([0.5] * 19 + [None] * 20), per_year=1.0)
    assert (found.windows, found.proposed) == (19, None)


def window(number: int, wrong: int, version: int) -> list[Example]:
    """Returns the examples of six hours, of which some have a wrong score, made by a version."""
    chance = random.Random(number)
    found = []
    for index in range(N):
        label = chance.random() < 0.5
        score = 0.9 if label is not (index < wrong) else 0.1
        time = number * WINDOW + index * WINDOW // N
        name = f"e{number}-{index}"
        found.append(Example(name, time, time, label, score, version, {"x": 1.0}, FINGERPRINT))
    return found


def random_log(chance: random.Random) -> list[LogEntry]:
    """Returns a log with promotions, pauses and resumptions."""
    log, decision, served = list[Example | Control](), 0, 0
    for number in range(100):
        log += window(number, chance.choice((2, 4, 8, 14, 18)), served)
        if chance.random() < 0.1:
            # Some are void, because another decision had the number.
            decision, served = decision + chance.choice((0, 1, 1)), chance.choice((5, 7))
            log.append(control("promote", version=served, decision=decision))
        if chance.random() < 0.2:
            log.append(control(chance.choice(("pause", "resume"))))
    return list(enumerate(log))


def version(number: int, origin: Literal["learned", "trained"], **offline: float) -> Manifest:
    return Manifest(
        "p", number, None, "", "", 0, FINGERPRINT, 0, None, {}, "", "", "",
        origin=origin, offline_metrics=offline,
    )  # fmt: skip


VERSIONS = {5: version(5, "trained", log_loss=0.3), 7: version(7, "trained", log_loss=0.6)}
LIMITS = (
    Threshold(metric="accuracy", limit=0.7, min_labels=20, windows=2),
    Threshold(metric="log_loss", limit=0.1, against="offline", min_labels=20),
    Threshold(
        metric="roc_auc", limit=0.75, min_labels=20, cool_down=timedelta(days=1), action="pause"
    ),
)


def alarms_of_learner(made: Pipeline, log: Sequence[LogEntry]) -> list[list[int]]:
    """Returns for each threshold the ends of the windows with which a learner opens its alarm."""
    learner = Learner(made, FINGERPRINT)
    names = [alarm_name(one) for one in made.thresholds.metrics]
    opened, lasting = {name: list[int]() for name in names}, set[str]()

    def load(number: int) -> LearnedModel:
        return LearnedModel(model=made.model(), offline_metrics=VERSIONS[number].offline_metrics)

    for offset, entry in log:
        if isinstance(entry, Control):
            for _ in learner.apply(offset, entry, load, lambda first, end: ()):
                pass
            continue
        learner.learn(offset, entry)
        for found in learner.take_findings():
            for breach in found.breaches:
                name = alarm_name(breach.threshold)
                if name not in lasting:
                    opened[name].append(breach.end)
                lasting.add(name)
            lasting -= set(found.within)
    return [opened[name] for name in names]


@pytest.mark.parametrize("seed", range(8))
def test_alarms_are_those_of_a_learner_also_after_decisions(seed: int) -> None:
    log = random_log(random.Random(seed))
    made = pipeline(thresholds=Thresholds(metrics=LIMITS), window=timedelta(hours=6))
    expected = alarms_of_learner(made, log)
    steps = list(threshold_steps(made, log, VERSIONS))
    found = calibrate(LIMITS, steps, per_year=1.0)
    assert [[opening.end for opening in one.alarms] for one in found] == expected
    assert all(expected), "nothing was compared"


def test_a_log_without_its_beginning_continues_from_the_newest_version_before() -> None:
    made = pipeline(window=timedelta(hours=6))
    kept = [one for one in random_log(random.Random(1)) if one[0] >= 80]
    known = {
        1: version(1, "learned", log_loss=0.9),
        30: version(30, "learned", log_loss=0.2),
        40: version(40, "trained", log_loss=0.5),
        90: version(90, "learned", log_loss=0.7),
    }
    first, *_ = threshold_steps(made, kept, known)
    assert isinstance(first, EvaluatedWindow)
    assert first.offline == {"log_loss": 0.2}


@pytest.mark.broker
def test_the_command_counts_alarms_and_proposes_limits(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    declared = (
        "from datetime import timedelta\n"
        "from stream_app import Threshold, Thresholds\n"
        "from tests.offline.phishing import sites\n"
        "limits = (Threshold(metric='log_loss', limit=0.01, min_labels=1),)\n"
        "pipeline = sites('NAME', untrained='allowed', window=timedelta(minutes=15),\n"
        "    thresholds=Thresholds(metrics=limits))\n"
    )
    with System(
        broker.bootstrap_servers, tmp_path, unique_name(), declared, partitions=1
    ) as system:
        few = system.command("monitor", "calibrate", "PIPELINE")
        assert (few.returncode, "and 20 are needed" in few.stderr) == (18, True)
        for example in examples(400, every=300_000):
            system.send("examples", example.encode(), b"e")
        system.producer.flush()
        done = system.command("monitor", "calibrate", "PIPELINE", "--json")
        assert done.returncode == 0, done.stderr
        (found,) = orjson.loads(done.stdout)
        assert found["name"] == "threshold-log_loss-alarm"
        assert found["windows"] > 100
        assert len(found["alarms"]) >= 1
        assert found["proposed_limit"] > 0.01
        assert found["proposed_alarms"] == 0
        table = system.command("monitor", "calibrate", "PIPELINE")
        assert "log_loss-alarm" in table.stdout
        assert f"{found['proposed_limit']:g}" in table.stdout
