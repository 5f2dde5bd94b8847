"""What workers correct by themselves is told on the monitoring topic, exactly, whatever ends them."""

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


def told(system: System) -> Counter[tuple[str, str]]:
    """How often each action was taken for each cause."""
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
                system.until(lambda: told(system).total() > 0, 60, "the first is not told at once")
        system.settle()
        system.kill("score-0")  # most likely before everything is told

        system.start("score")
        expected = Counter({("impute", "country"): EVENTS // 2, ("restart", "died"): 1})
        system.until(
            lambda: told(system) == expected, 60, "what is told after a crash is not what was done"
        )

        system.terminate("score-0")
        system.start("score")
        system.send_event(EVENTS, now, country=None)
        expected["impute", "country"] += 1
        system.until(lambda: told(system) == expected, 60, "a stop that was asked for is no fault")

        watcher = StatusWatcher(system.settings, system.name)
        shown = watcher.look().corrective_actions
        watcher.close()
        assert {(one.action, one.cause): one.count for one in shown} == dict(expected)
        sources = {fields["source"] for fields in system.values("monitoring")}
        assert "score-0" in sources
        assert sources <= {"score-0", "score[0]", "score[1]", None}
