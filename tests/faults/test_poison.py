"""Each record that crashes a worker becomes one dead letter; all others are scored once."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from stream_app.broker import EmbeddedBroker
from tests.running_system import System
from tests.worker.poison import (
    ABORT,
    CODES,
    DECLARED,
    HOARD,
    HOLD,
    LEAVE,
    MATCH,
    SEGFAULT,
    SLEEP,
    SPIN,
    STOP,
    SWELL,
    EventBatches,
    Restarting,
    machine_load,
    messages,
)


@contextmanager
def running(
    broker: EmbeddedBroker, folder: Path, partitions: int = 4
) -> Iterator[tuple[System, Restarting, EventBatches]]:
    """Runs a learner and a scorer that is restarted when it exits, after a first batch."""
    with System(
        broker.bootstrap_servers,
        folder,
        f"poison-{uuid4().hex[:8]}",
        DECLARED,
        partitions=partitions,
    ) as system:
        system.start_all()
        with Restarting(system) as restarting:
            batches = EventBatches(system)
            batches.send([], good=100)
            yield system, restarting, batches
            system.check_outcomes()


@pytest.mark.faults
@pytest.mark.parametrize(
    "kind", [SEGFAULT, ABORT, LEAVE, STOP, SPIN, HOLD, MATCH, SLEEP, HOARD, SWELL]
)
def test_one_poison_record_among_a_thousand_costs_at_most_one_restart(
    broker: EmbeddedBroker, tmp_path: Path, kind: int
) -> None:
    with running(broker, tmp_path) as (system, restarting, batches):
        baseline = batches.send([])
        first = batches.send([kind]) - baseline
        exit_codes = list(restarting.exit_codes)
        second = batches.send([kind]) - baseline
        system.await_outcomes()
        print(
            f"\n{messages(system)}: other records delayed by {first:.1f} s, then {second:.1f} s; "
            f"exit codes {exit_codes}"
        )
        assert [code for code, _ in messages(system)] == [CODES[kind]] * 2
        assert restarting.exit_codes == exit_codes
        assert len(exit_codes) <= 1
        assert first < 10 * machine_load()
        assert second < 3 * machine_load()


@pytest.mark.faults
def test_ten_poison_records_in_a_row_with_trial_runs_of_candidates_alone(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    """Each of them may crash the worker, which recovers each time."""
    with running(broker, tmp_path, partitions=1) as (system, restarting, batches):
        system.environment["STREAM_APP_WORKER__QUARANTINE_SECONDS"] = "0"
        seconds = batches.send([SEGFAULT] * 10, good=100)
        system.await_outcomes()
        print(f"\n{len(restarting.exit_codes)} crashes; other records delayed by {seconds:.1f} s")
        assert Counter(code for code, _ in messages(system)) == {"record-crashes": 10}
        assert 1 <= len(restarting.exit_codes) <= 11


@pytest.mark.faults
def test_ten_poison_records_of_all_kinds_cost_at_most_one_restart_per_partition(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    """A partition may reach its first one before that of another partition is known as poison."""
    kinds = [SEGFAULT, HOARD, ABORT, SEGFAULT, LEAVE, SPIN, STOP, SEGFAULT, ABORT, HOARD]
    with running(broker, tmp_path) as (system, restarting, batches):
        seconds = batches.send(kinds)
        system.await_outcomes()
        print(f"\nother records delayed by {seconds:.1f} s; exit codes {restarting.exit_codes}")
        assert Counter(code for code, _ in messages(system)) == Counter(
            CODES[kind] for kind in kinds
        )
        assert len(restarting.exit_codes) <= 4


@pytest.mark.faults
def test_poison_records_in_two_partitions_at_once_share_restarts(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    with running(broker, tmp_path, partitions=2) as (system, restarting, batches):
        seconds = batches.send([SEGFAULT, ABORT, LEAVE, SEGFAULT], good=200)
        system.await_outcomes()
        print(f"\nother records delayed by {seconds:.1f} s; exit codes {restarting.exit_codes}")
        assert {message.partition() for message in system.read("raw.dlq")} == {0, 1}
        assert Counter(code for code, _ in messages(system)) == {"record-crashes": 4}
        assert 1 <= len(restarting.exit_codes) <= 3
