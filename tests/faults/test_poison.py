"""Records that harm the process itself: each is one dead letter, everything else is scored once."""

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
    """A scorer that is started again when it ends, and a learner; warm."""
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
def test_one_among_a_thousand_and_then_another(
    broker: EmbeddedBroker, tmp_path: Path, kind: int
) -> None:
    with running(broker, tmp_path) as (system, restarting, batches):
        usual = batches.send([])
        first = batches.send([kind]) - usual
        deaths = list(restarting.exit_codes)
        second = batches.send([kind]) - usual
        system.await_outcomes()
        print(
            f"\n{messages(system)}: the others are late by {first:.1f} s, then {second:.1f} s; exit codes {deaths}"
        )
        assert [code for code, _ in messages(system)] == [CODES[kind]] * 2
        assert restarting.exit_codes == deaths
        assert len(deaths) <= 1
        assert first < 10 * machine_load()
        assert second < 3 * machine_load()


@pytest.mark.faults
def test_ten_in_a_row_while_only_suspects_are_tried(broker: EmbeddedBroker, tmp_path: Path) -> None:
    """Every one of them costs a worker, and the worker comes back every time."""
    with running(broker, tmp_path, partitions=1) as (system, restarting, batches):
        system.environment["STREAM_APP_WORKER__QUARANTINE_SECONDS"] = "0"
        seconds = batches.send([SEGFAULT] * 10, good=100)
        system.await_outcomes()
        print(
            f"\nten workers died, {len(restarting.exit_codes)} really; the others were late by {seconds:.1f} s"
        )
        assert Counter(code for code, _ in messages(system)) == {"record-crashes": 10}
        assert 1 <= len(restarting.exit_codes) <= 11


@pytest.mark.faults
def test_ten_in_a_row_of_every_kind_cost_no_more_workers_than_partitions(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    """Each partition may meet its first before that of another one is convicted, and everything suspected."""
    kinds = [SEGFAULT, HOARD, ABORT, SEGFAULT, LEAVE, SPIN, STOP, SEGFAULT, ABORT, HOARD]
    with running(broker, tmp_path) as (system, restarting, batches):
        seconds = batches.send(kinds)
        system.await_outcomes()
        print(f"\nthe others were late by {seconds:.1f} s; exit codes {restarting.exit_codes}")
        assert Counter(code for code, _ in messages(system)) == Counter(
            CODES[kind] for kind in kinds
        )
        assert len(restarting.exit_codes) <= 4


@pytest.mark.faults
def test_two_partitions_at_once(broker: EmbeddedBroker, tmp_path: Path) -> None:
    with running(broker, tmp_path, partitions=2) as (system, restarting, batches):
        seconds = batches.send([SEGFAULT, ABORT, LEAVE, SEGFAULT], good=200)
        system.await_outcomes()
        print(f"\nthe others were late by {seconds:.1f} s; exit codes {restarting.exit_codes}")
        assert {message.partition() for message in system.read("raw.dlq")} == {0, 1}
        assert Counter(code for code, _ in messages(system)) == {"record-crashes": 4}
        assert 1 <= len(restarting.exit_codes) <= 3
