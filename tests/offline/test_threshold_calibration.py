"""Calibration counts the alarms that thresholds would have raised, and proposes limits."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import orjson
import pytest

from stream_app import Threshold
from stream_app.broker import EmbeddedBroker
from stream_app.core.evaluation.evaluator import WindowReport
from stream_app.core.learning.control_commands import Control
from stream_app.core.published_records import ExampleOffsets
from stream_app.offline.threshold_calibration import LogEntry, calibrate, openings, window_reports
from tests.learning import examples, pipeline
from tests.running_system import System
from tests.transfer.clusters import unique_name

DAY = 86_400_000
LOSS = Threshold(metric="log_loss", limit=0.6)


def reports(
    values: Sequence[float | None], metric: str = "log_loss", **others: float
) -> list[WindowReport]:
    """Returns windows of a day with these values; None is a window with too few labels."""
    return [
        WindowReport(
            day * DAY, (day + 1) * DAY, 10 if value is None else 500, 1,
            {metric: value or 0.0, **others}, ExampleOffsets(day, day), {},
        )
        for day, value in enumerate(values)
    ]  # fmt: skip


def test_alarms_are_those_of_the_learner() -> None:
    values = [0.5, 0.7, 0.7, 0.5, 0.7, None, 0.7, 0.5]
    found = openings(replace(LOSS, windows=2), reports(values), {})
    assert [(one.start // DAY, one.end // DAY) for one in found] == [(1, 3), (4, 7)]


def test_a_limit_is_proposed_that_alarms_at_most_so_often() -> None:
    values = [0.5 + 0.001 * (day % 7) for day in range(365)]
    values[100], values[200], values[201], values[300] = 0.9, 0.8, 0.81, 0.7
    (found,) = calibrate([LOSS], reports(values), {}, per_year=1.0)
    assert [one.start // DAY for one in found.alarms] == [100, 200, 300]
    assert found.per_year == pytest.approx(3.0)
    assert (found.proposed, found.proposed_alarms) == (0.81, 1)
    assert (found.windows, found.low, found.median, found.high) == (365, 0.5, 0.503, 0.506)
    (two,) = calibrate([LOSS], reports(values), {}, per_year=2.0)
    assert (two.proposed, two.proposed_alarms) == (0.7, 2)
    (none,) = calibrate([LOSS], reports(values), {}, per_year=0.0)
    assert (none.proposed, none.proposed_alarms) == (0.9, 0)


def test_limits_of_other_metrics_are_lower_bounds() -> None:
    values = [0.7 + 0.001 * (day % 5) for day in range(100)]
    values[50] = 0.4567
    threshold = Threshold(metric="roc_auc", limit=0.6)
    (found,) = calibrate([threshold], reports(values, "roc_auc"), {}, per_year=1.0)
    assert (len(found.alarms), found.proposed, found.proposed_alarms) == (1, 0.456, 0)


def test_several_windows_in_a_row_allow_a_tighter_limit() -> None:
    values = [0.5] * 100
    values[10] = 0.9
    values[40:42] = [0.7, 0.75]
    (found,) = calibrate([replace(LOSS, windows=2)], reports(values), {}, per_year=1.0)
    assert (found.alarms[0].end // DAY, found.proposed) == (42, 0.7)


@pytest.mark.parametrize(
    ("metric", "value", "prior", "expected"),
    [("log_loss", 0.5, 0.55, -0.05), ("roc_auc", 0.7, 0.5, -0.2)],
)
def test_against_a_reference_the_limit_is_how_much_worse_it_may_be(
    metric: str, value: float, prior: float, expected: float
) -> None:
    threshold = Threshold(metric=metric, limit=0.0, against="prior")
    windows = reports([value] * 30, metric, **{f"prior_{metric}": prior})
    (found,) = calibrate([threshold], windows, {}, per_year=1.0)
    assert found.proposed == pytest.approx(expected, abs=0.001)
    assert found.median == pytest.approx(expected)
    offline = replace(threshold, against="offline")
    (of_trained,) = calibrate([offline], windows, {metric: prior}, per_year=1.0)
    assert of_trained.proposed == found.proposed
    (unknown,) = calibrate([offline], windows, {}, per_year=1.0)
    assert (unknown.windows, unknown.proposed, unknown.low) == (0, None, None)


def test_nothing_is_proposed_from_few_windows() -> None:
    (found,) = calibrate([LOSS], reports([0.5] * 19 + [None] * 20), {}, per_year=1.0)
    assert (found.windows, found.proposed) == (19, None)


def test_predictions_of_versions_that_were_rolled_back_do_not_count() -> None:
    declared = replace(pipeline(), window=timedelta(hours=1))
    log: list[LogEntry] = list(enumerate(examples(600)))
    plain = list(window_reports(declared, log))
    assert len(plain) > 3
    control = Control("rollback", 0, 1, "", "ann@host", "test")
    rolled_back: list[LogEntry] = [
        *log[:300],
        (300, control),
        *((at + 1, one) for at, one in log[300:]),
    ]
    found = list(window_reports(declared, rolled_back))
    assert [one.start for one in found] == [one.start for one in plain]


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
