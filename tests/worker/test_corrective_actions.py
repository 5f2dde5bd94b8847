"""Corrective actions are published exactly once, even if a worker crashes."""

import time
from collections import Counter
from pathlib import Path

import pytest

from stream_app.broker import EmbeddedBroker
from stream_app.status.status_watcher import StatusWatcher
from tests.running_system import System
from tests.transfer.clusters import unique_name

pytestmark = pytest.mark.broker

EVENTS = 40
DECLARED = """
from stream_app.cleaning import Impute
from tests.small_pipeline import small_pipeline

pipeline = small_pipeline("NAME", clean=(Impute("country", "NL"),))
"""


def published_actions(system: System) -> Counter[tuple[str, str]]:
    """Return the number of corrective actions by action and cause."""
    found: Counter[tuple[str, str]] = Counter()
    for fields in system.values("monitoring"):
        if fields["kind"] == "corrective_action":
            found[fields["name"], fields["reference"]] += fields["n"]
    return found


def test_imputed_values_and_restarts_are_counted_exactly(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    with System(
        broker.bootstrap_servers, tmp_path, unique_name(), DECLARED, partitions=2
    ) as system:
        system.start_all()
        now = int(time.time() * 1000)
        for number in range(EVENTS):
            system.send_event(number, now, country=None if number % 2 else "BE")
            if number == EVENTS // 2:
                system.until(
                    lambda: published_actions(system).total() > 0,
                    60,
                    "the first action is not published immediately",
                )
        system.await_outcomes()
        # Most likely before every action is published.
        system.kill("score-0")

        system.start("score")
        expected = Counter({("impute", "country"): EVENTS // 2, ("restart", "died"): 1})
        system.until(
            lambda: published_actions(system) == expected,
            60,
            "the published actions are wrong after a crash",
        )

        system.terminate("score-0")
        system.start("score")
        system.send_event(EVENTS, now, country=None)
        expected["impute", "country"] += 1
        system.until(
            lambda: published_actions(system) == expected, 60, "a requested stop counts as a fault"
        )

        watcher = StatusWatcher(system.settings, system.name)
        shown = watcher.look().corrective_actions
        watcher.close()
        assert {(one.action, one.cause): one.count for one in shown} == dict(expected)
        sources = {fields["source"] for fields in system.values("monitoring")}
        assert "score-0" in sources
        assert sources <= {"score-0", "score[0]", "score[1]", None}
