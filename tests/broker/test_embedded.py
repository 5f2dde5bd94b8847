"""An embedded broker keeps its data and its port, and explains a failed start."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from platformdirs import user_cache_path

from stream_app.broker import EmbeddedBroker
from stream_app.broker.broker_errors import (
    BrokerDiedError,
    DataDirInUseError,
    DiskError,
    NotStartedError,
    PortTakenError,
    StartTimeoutError,
)
from tests.patience import PATIENCE

pytestmark = pytest.mark.broker


@pytest.fixture
def own(tmp_path: Path) -> Iterator[EmbeddedBroker]:
    """A broker of the test's own, not started yet."""
    broker = EmbeddedBroker(tmp_path / "kafka", owned=True)
    yield broker
    broker.kill()


def produce(broker: EmbeddedBroker, value: bytes) -> None:
    client: dict[str, str | int | float | bool] = {
        "bootstrap.servers": broker.bootstrap_servers,
        "log_level": 0,
    }
    topics = AdminClient(client)
    if "kept" not in topics.list_topics(timeout=60).topics:
        topics.create_topics([NewTopic("kept", 1, 1)])["kept"].result(60)
    producer = Producer({**client, "message.timeout.ms": 10_000})
    producer.produce("kept", value)
    assert producer.flush(60) == 0


def values(broker: EmbeddedBroker, count: int) -> list[bytes | None]:
    consumer = Consumer(
        {"bootstrap.servers": broker.bootstrap_servers, "group.id": "reader", "log_level": 0}
    )
    consumer.assign([TopicPartition("kept", 0, 0)])
    try:
        return [message.value() for message in consumer.consume(count, timeout=10)]
    finally:
        consumer.close()


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 10 * PATIENCE
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "the process still runs"
        time.sleep(0.05)


def test_stop_keeps_data_and_port(own: EmbeddedBroker) -> None:
    own.start()
    address = own.bootstrap_servers
    produce(own, b"before")
    own.stop()
    assert own.pid is None
    own.start()
    produce(own, b"after")
    assert own.bootstrap_servers == address
    assert values(own, 2) == [b"before", b"after"]


def test_kill_9_keeps_data_and_port(own: EmbeddedBroker) -> None:
    own.start()
    address = own.bootstrap_servers
    produce(own, b"acknowledged")
    own.kill()
    assert own.pid is None
    own.start()
    assert own.bootstrap_servers == address
    assert values(own, 1) == [b"acknowledged"]


def test_a_second_start_attaches(own: EmbeddedBroker, tmp_path: Path) -> None:
    own.start()
    again = EmbeddedBroker(tmp_path / "kafka")
    again.start()
    assert again.status() == own.status()
    assert own.status().running
    other = EmbeddedBroker(tmp_path / "kafka", port=1024)
    with pytest.raises(PortTakenError, match="already runs on port"):
        other.start()


def test_simultaneous_starts_share_one_broker(tmp_path: Path) -> None:
    brokers = [EmbeddedBroker(tmp_path / "kafka", owned=True) for _ in range(3)]
    threads = [threading.Thread(target=broker.start) for broker in brokers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    try:
        assert brokers[0].pid is not None
        assert len({broker.pid for broker in brokers}) == 1
    finally:
        brokers[0].kill()


def test_a_taken_port_is_named_with_its_owner(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(PortTakenError, match=rf"Port {port} .*\(process {os.getpid()}\)"):
            EmbeddedBroker(tmp_path / "kafka", port=port).start()


def test_a_data_folder_in_use_is_named_with_its_user(own: EmbeddedBroker, tmp_path: Path) -> None:
    own.start()
    pid = own.pid
    state = tmp_path / "kafka" / "broker.json"
    kept = state.read_text()
    state.unlink()
    try:
        with pytest.raises(DataDirInUseError, match=f"process {pid}"):
            EmbeddedBroker(tmp_path / "kafka", owned=True).start()
    finally:
        state.write_text(kept)
    assert own.pid == pid


def test_a_broker_that_ends_while_starting_is_an_error_with_its_cause(tmp_path: Path) -> None:
    broker = EmbeddedBroker(tmp_path / "kafka", properties={"num.io.threads": "none"}, owned=True)
    with pytest.raises(
        BrokerDiedError, match=r"Invalid value none for configuration num\.io\.threads"
    ) as caught:
        broker.start()
    assert "start.log" in caught.value.remedy


def test_a_broker_that_ends_after_formatting_is_an_error_with_its_cause(
    own: EmbeddedBroker, tmp_path: Path
) -> None:
    own.start()
    own.stop()
    broken = EmbeddedBroker(tmp_path / "kafka", properties={"node.id": "2"}, owned=True)
    with pytest.raises(BrokerDiedError, match="Stored node id 1 doesn't match") as caught:
        broken.start()
    assert str(own.log_file) in caught.value.remedy


def test_a_start_that_takes_too_long_leaves_no_process(own: EmbeddedBroker) -> None:
    with pytest.raises(StartTimeoutError):
        own.start(timeout=0.0)
    assert not own.status().running


def test_a_reused_process_id_is_not_the_broker(own: EmbeddedBroker, tmp_path: Path) -> None:
    (tmp_path / "kafka").mkdir()
    state = {
        "pid": os.getpid(),
        "created": psutil.Process().create_time(),
        "port": 1,
        "controller_port": 2,
    }
    (tmp_path / "kafka" / "broker.json").write_text(json.dumps({**state, "version": "4"}))
    assert not own.status().running
    own.stop()
    own.kill()


def test_a_broker_that_was_never_started_has_no_address(own: EmbeddedBroker) -> None:
    with pytest.raises(NotStartedError):
        _ = own.bootstrap_servers


def test_a_broker_listens_on_the_loopback_interface_only(broker: EmbeddedBroker) -> None:
    sockets = psutil.Process(broker.pid).net_connections("inet")
    listening = {
        connection.laddr[0] for connection in sockets if connection.status == psutil.CONN_LISTEN
    }
    assert listening
    assert listening <= {"127.0.0.1", "::ffff:127.0.0.1"}


def test_a_request_for_a_missing_topic_does_not_create_it(broker: EmbeddedBroker) -> None:
    client = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    assert client.list_topics("accident", timeout=60).topics["accident"].error is not None
    assert "accident" not in client.list_topics(timeout=60).topics


START_OWNED = """
import sys, threading, time
from pathlib import Path
from stream_app.broker import EmbeddedBroker
broker = EmbeddedBroker(Path(sys.argv[1]), owned=True)
# The thread ends while the broker runs.
thread = threading.Thread(target=broker.start)
thread.start()
thread.join()
print(broker.pid, flush=True)
time.sleep(600)
"""


def test_an_owned_broker_dies_with_its_owner(own: EmbeddedBroker, tmp_path: Path) -> None:
    command = [sys.executable, "-c", START_OWNED, str(tmp_path / "kafka")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        time.sleep(0.2)
        assert own.pid == pid
        owner.send_signal(signal.SIGKILL)
    wait_until_gone(pid)
    assert not own.status().running


def test_a_broker_that_is_not_owned_outlives_its_starter(
    own: EmbeddedBroker, tmp_path: Path
) -> None:
    code = (
        "import sys, pathlib; from stream_app.broker import EmbeddedBroker; "
        "EmbeddedBroker(pathlib.Path(sys.argv[1])).start()"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "kafka")], check=True)
    assert own.status().running
    produce(own, b"served")


def test_an_unusable_data_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskError, match="Cannot use"):
        EmbeddedBroker(tmp_path / "file" / "kafka").start()


@pytest.mark.faults
def test_a_damaged_class_data_archive_is_written_again(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    shutil.copytree(
        user_cache_path("stream-app"),
        cache,
        copy_function=os.link,
        ignore=shutil.ignore_patterns("start-*"),
    )
    broker = EmbeddedBroker(tmp_path / "kafka", cache_dir=cache, owned=True)
    broker.start()
    broker.stop()
    (archive,) = cache.glob("*/start-*.aot")
    os.truncate(archive, archive.stat().st_size // 2)
    broker.start()
    broker.kill()
    assert archive.stat().st_size > 10_000_000
