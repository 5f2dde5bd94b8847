"""Workers recover from outages of the broker, of their own process and of others."""

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen
from uuid import uuid4

import pytest
from confluent_kafka import Producer

from stream_app.broker import EmbeddedBroker
from stream_app.errors import FencedError
from tests.faults.freezing import freeze
from tests.faults.run import (
    ABORTED_SECONDS,
    ROUNDS,
    Recovery,
    await_learner,
    await_progress,
    restart,
    running,
)
from tests.running_system import System

# In the log of a worker that has given up a call of librdkafka.
HUNG = "librdkafka did not respond"


@pytest.mark.faults
def test_a_duplicate_instance_id_on_this_machine_is_rejected(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    with running(broker, tmp_path, scorers=1) as (system, _):
        first = system.workers["score-0"]
        second = system.start("score", "0")
        assert second.wait(30) == FencedError.exit_code
        assert "already running here" in system.log("score-0")
        system.workers["score-0"] = first


@pytest.mark.faults
def test_a_duplicate_instance_id_on_another_machine_loses_and_duplicates_nothing(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    with running(broker, tmp_path) as (system, _):
        first = system.workers["score-0"]
        other_machine = {
            "STREAM_APP_DATA_DIR": str(tmp_path / "elsewhere"),
            "STREAM_APP_STORE_URL": store(system),
            "STREAM_APP_KEYS__FOLDER": str(system.settings.data_dir / "keys"),
        }
        second = system.start("score", "0", **other_machine)
        deadline = time.monotonic() + 60
        while first.poll() is None and second.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        assert FencedError.exit_code in (first.poll(), second.poll()), system.log("score-0")
        time.sleep(2)
        for process in (first, second):
            process.kill()
            process.wait()
        print(f"\nrecovered after {restart(system, 'score-0'):.1f} s")


def store(system: System) -> str:
    return (system.settings.data_dir / "store").absolute().as_uri()


def test_a_worker_without_a_broker_logs_an_outage_and_waits(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    with System(broker.bootstrap_servers, tmp_path, f"away-{uuid4().hex[:8]}") as system:
        run_file = system.settings.data_dir / "run" / system.name / "score-0.json"
        system.start("score", STREAM_APP_KAFKA__BOOTSTRAP_SERVERS="127.0.0.1:1")
        system.until(lambda: '"outage"' in system.log("score-0"), 30, "no outage is logged")
        run = json.loads(run_file.read_text())
        with pytest.raises(HTTPError) as unavailable:
            urlopen(f"http://{run['host']}:{run['port']}/readyz")
        with unavailable.value as response:
            (reason,) = json.load(response)["reasons"]
        assert reason.startswith("outage: Kafka at 127.0.0.1:1 cannot be reached: Connect to")
        assert system.terminate("score-0") < 2


def stop(broker: EmbeddedBroker) -> None:
    broker.stop()
    time.sleep(2)
    broker.start()


def kill(broker: EmbeddedBroker) -> None:
    broker.kill()
    time.sleep(2)
    broker.start()


@pytest.mark.faults
@pytest.mark.timeout(900)
@pytest.mark.parametrize("fault", [stop, kill, freeze])
def test_workers_recover_from_every_fault_of_the_broker(
    tmp_path: Path, fault: Callable[[EmbeddedBroker], None]
) -> None:
    broker = EmbeddedBroker(tmp_path / "kafka", owned=True)
    broker.start()
    try:
        with running(broker, tmp_path) as (system, _):
            seconds = []
            for _ in range(ROUNDS):
                time.sleep(2)
                fault(broker)
                seconds.append(round(await_progress(system), 1))
                assert {worker.poll() for worker in system.workers.values()} == {None}
            hung = sum(
                HUNG in (tmp_path / f"{worker}.log").read_text() for worker in system.workers
            )
            print(f"\nrecovered {seconds} s after the broker; calls hung in {hung} workers")
    finally:
        broker.kill()


@pytest.mark.faults
@pytest.mark.parametrize("worker", ["score-0", "learn-0"])
@pytest.mark.parametrize("call", ["_send_offsets", "_commit_transaction"])
def test_a_call_that_does_not_return_ends_the_task_and_not_the_worker(
    broker: EmbeddedBroker, tmp_path: Path, worker: str, call: str
) -> None:
    """The broker has done what the call asked for, and the worker does not know."""
    with running(broker, tmp_path) as (system, _):
        system.kill(worker)
        point = f"stream_app.worker.transaction_writer:TransactionWriter.{call},hang,20"
        process = system.start(*worker.split("-"), FAULT_AT=point)
        system.until(lambda: HUNG in system.log(worker), 60, "no call hangs")
        print(f"\nrecovered {await_progress(system):.1f} s after the call was given up")
        await_learner(system)
        assert process.poll() is None, system.log(worker)


@pytest.mark.faults
def test_a_worker_suspended_past_its_session_time_out_loses_and_duplicates_nothing(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    with running(broker, tmp_path) as (system, _):
        suspended = system.workers["score-0"]
        suspended.send_signal(signal.SIGSTOP)
        time.sleep(10)
        suspended.send_signal(signal.SIGCONT)
        print(f"\nrecovered after {await_progress(system):.1f} s")
        assert suspended.poll() is None


@pytest.mark.faults
def test_a_hung_producer_blocks_the_learner_only_for_its_transaction_time_out(
    broker: EmbeddedBroker, tmp_path: Path, recovery: Recovery
) -> None:
    with running(broker, tmp_path, scorers=1) as (system, _):
        config = {
            "bootstrap.servers": broker.bootstrap_servers,
            "transaction.timeout.ms": 10_000,
            "log_level": 0,
        }
        hung = Producer({**config, "transactional.id": f"{system.name}-hung"})
        hung.init_transactions(10)
        hung.begin_transaction()
        hung.produce(f"{system.name}.monitoring", b"{}", b"control", partition=0)
        hung.produce(f"{system.name}.examples", b"{}", b"control", partition=0)
        hung.flush(10)
        started = time.monotonic()
        sent = system.sent["labels"]
        system.until(lambda: system.learned() > sent, 60, "the learner is still blocked")
        seconds = time.monotonic() - started
        print(f"\nlearner blocked for {seconds:.1f} s")
        assert seconds < ABORTED_SECONDS + 2 * recovery.learner


def test_a_worker_exits_within_five_seconds_of_sigterm(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    with running(broker, tmp_path, scorers=1) as (system, _):
        for worker in ("score-0", "learn-0"):
            assert system.terminate(worker) < 5
            restart(system, worker)


def test_rebalances_before_the_first_commit_lose_nothing(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    """Each join interrupts fetching, without a committed offset to continue from."""
    with System(broker.bootstrap_servers, tmp_path, f"rebalance-{uuid4().hex[:8]}") as system:
        base = int(time.time() * 1000) - 3_600_000
        for number in range(2000):
            system.send_event(number, base + number)
            system.send_label(number, base + number + 500)
        system.start_all(scorers=2)
        for round_number in range(3):
            time.sleep(2)
            worker = f"score-{round_number % 2}"
            system.workers[worker].send_signal(signal.SIGTERM)
            system.workers[worker].wait(10)
            system.start("score", str(round_number % 2))
        system.check_outcomes()
