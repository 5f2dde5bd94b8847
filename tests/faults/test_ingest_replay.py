"""Replays of dead letters of ingest while ingest, scorers and operators are killed."""

import time
from pathlib import Path

import pytest

from stream_app.broker import EmbeddedBroker
from tests.forked_process import WorkerProcess
from tests.replayed_sources import ReplayedSystem
from tests.transfer.clusters import unique_name

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

ROUNDS = 10
ORDERS = 60
WRITER = "stream_app.worker.transaction_writer:TransactionWriter."
# The selections of two operators, which never overlap.
SELECTIONS = ("raw", "labels")
# Exit codes of a replay that another one fences, that finds nothing open, or that stalls.
EXPECTED_CODES = {0, 8, 18, 19}


class Operators:
    """Two operators who replay events and labels at the same time, again and again."""

    def __init__(self, system: ReplayedSystem) -> None:
        self._system = system
        self._running: dict[str, WorkerProcess] = {}

    def start(self) -> None:
        """Start those that do not run."""
        for selection in SELECTIONS:
            running = self._running.get(selection)
            if running is None or self._has_ended(running):
                words = self._system.replay_words("--source", selection, "--rate", "20")
                self._running[selection] = self._system.start_command(*words)

    def kill(self, selection: str) -> None:
        """Kill one of them."""
        self._running[selection].kill()
        self._running.pop(selection).wait()

    def finish(self, timeout: float) -> None:
        """Let each replay what is left, one replay after the other."""
        for running in self._running.values():
            assert running.wait(timeout) in EXPECTED_CODES
        for selection in SELECTIONS:
            done = self._system.command(*self._system.replay_words("--source", selection))
            assert done.returncode in (0, 18), done.stderr

    def _has_ended(self, running: WorkerProcess) -> bool:
        code = running.poll()
        assert code is None or code in EXPECTED_CODES
        return code is not None


def test_ten_kills_during_replays_lose_and_duplicate_nothing(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    """In each round workers, and at times an operator, die while records come and are replayed."""
    with ReplayedSystem(broker.bootstrap_servers, tmp_path, unique_name()) as system:
        system.start_pairs()
        system.send_orders(3 * ORDERS)
        system.await_sources(120)
        operators = Operators(system)
        for number in range(ROUNDS):
            system.send_orders(ORDERS)
            operators.start()
            # At other moments of the replays in each round.
            time.sleep(1.5 + 0.17 * number)
            for role in ("ingest", "score"):
                system.kill(f"{role}-{number % 2}")
            if number % 3 == 1:
                operators.kill(SELECTIONS[number % 2])
            for role in ("ingest", "score"):
                system.start(role, str(number % 2))
            time.sleep(2)
        system.await_replayed(180)
        operators.finish(120)
        system.await_replayed(180)
        outcomes = system.check_replayed()
        statuses = system.statuses()
        replayed = len(system.read("ingest.replay"))
        sent = sum(len(system.sent_records(one)) for one in ("orders", "refunds", "verdicts"))
        print(
            f"\n{sent} records of the sources, {replayed} replayed in {len(statuses)} replays: "
            f"{dict(outcomes)}"
        )
        assert outcomes.total() == sent
        assert {one["state"] for one in statuses} == {"done"}
        assert sum(one["outcome"]["sent"] for one in statuses) == replayed
        assert {one["outcome"]["pending"] for one in statuses} == {0}
        assert set(outcomes) == {
            *("scored", "dead-lettered", "filtered", "duplicate", "tombstone", "label"),
        }


@pytest.mark.parametrize(
    "point",
    [
        f"{WRITER}_send_offsets,after,2",
        f"{WRITER}_commit_transaction,before,2",
        f"{WRITER}_commit_transaction,after,2",
    ],
)
def test_a_kill_at_each_step_of_a_commit_during_a_replay_loses_and_duplicates_nothing(
    point: str, broker: EmbeddedBroker, tmp_path: Path
) -> None:
    with ReplayedSystem(broker.bootstrap_servers, tmp_path, unique_name()) as system:
        system.send_orders(200)
        system.start_all()
        system.start("ingest")
        system.await_sources(120)
        system.terminate("ingest-0")
        killed = system.start("ingest", FAULT_AT=point)
        operator = system.start_command(*system.replay_words("--rate", "5"))
        system.until(lambda: killed.poll() is not None, 90, "the fault point was not reached")
        system.start("ingest")
        assert operator.wait(120) == 0, (tmp_path / "command.log").read_text()
        system.await_replayed(120)
        outcomes = system.check_replayed()
        (status,) = system.statuses()
        assert status["outcome"]["sent"] == len(system.read("ingest.replay"))
        assert status["outcome"]["pending"] == 0
        assert outcomes["filtered"] > 20
