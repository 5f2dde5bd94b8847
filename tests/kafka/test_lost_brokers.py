"""Clients come back when a broker has answered that its cluster has no brokers."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import NamedTuple

import orjson
import pytest
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient

from stream_app.broker.node import HOST
from stream_app.kafka.clients import client_config, make_admin, make_producer
from stream_app.kafka.partition_reader import PartitionReader
from stream_app.kafka.retrying_reader import RetryingReader
from stream_app.records import InputPartition, Output
from stream_app.settings import KafkaSettings, Settings
from stream_app.topic_kinds import topic_name
from stream_app.transfer.produce import ProduceSummary, produce_file
from stream_app.worker.transaction_writer import TransactionWriter
from tests.faults.metadata_proxy import MetadataProxy
from tests.faults.proxy import proxied_broker
from tests.patience import PATIENCE
from tests.small_pipeline import small_pipeline
from tests.transfer.clusters import new_topics, read

HIDDEN_SECONDS = 2.0
# A client notices its loss within 2 s, and connects again within another.
BACK_SECONDS = 20.0 * PATIENCE

pytestmark = pytest.mark.broker


class HidingCluster(NamedTuple):
    """Broker behind a proxy that can hide it; settings of clients that use the proxy."""

    proxy: MetadataProxy
    settings: Settings
    name: str

    @property
    def topic(self) -> str:
        return topic_name(self.name, "raw")

    def hide(self, serve: Callable[[], object]) -> None:
        """Hide the broker for a time, in which clients are served."""
        self.proxy.hidden, self.proxy.hiding = 0, True
        try:
            until(lambda: serve() and False, HIDDEN_SECONDS)
        finally:
            self.proxy.hiding = False
        assert self.proxy.hidden


@pytest.fixture(scope="module")
def hiding(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HidingCluster]:
    folder = tmp_path_factory.mktemp("hiding")
    with proxied_broker(folder, MetadataProxy) as (_, proxy):
        settings = Settings(kafka=KafkaSettings(bootstrap_servers=f"{HOST}:{proxy.port}"))
        yield HidingCluster(proxy, settings, new_topics(settings))


def until(condition: Callable[[], object], seconds: float) -> bool:
    """Return True once a condition holds, or False if it does not in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


def delivers(producer: Producer, topic: str) -> Callable[[], bool]:
    """Return a function that sends a record and returns True if one was delivered."""
    delivered: list[bool] = []

    def send() -> bool:
        found, delivered[:] = any(delivered), []
        producer.produce(topic, b"{}", on_delivery=lambda error, _: delivered.append(error is None))
        producer.poll(0.05)
        return found

    return send


def test_a_producer_delivers_again(hiding: HidingCluster) -> None:
    producer = make_producer(hiding.settings)
    send = delivers(producer, hiding.topic)
    assert until(send, BACK_SECONDS)
    hiding.hide(send)
    assert until(send, BACK_SECONDS)
    assert producer.flush(BACK_SECONDS) == 0


def test_a_transactional_producer_commits_again(hiding: HidingCluster) -> None:
    writer = TransactionWriter(
        client_config(hiding.settings), f"{hiding.name}-writer", lambda _: hiding.topic, ["raw"]
    )
    writer.take_over()

    def commit() -> int:
        writer.write([Output("raw", 0, b"k", b"{}")])
        return writer.commit({}, None)

    commit()
    hiding.hide(writer.serve)
    commit()
    writer.close()


def test_readers_read_again(hiding: HidingCluster) -> None:
    producer = make_producer(hiding.settings)
    following = PartitionReader(client_config(hiding.settings))
    reader = RetryingReader(client_config(hiding.settings), f"{hiding.name}-group")
    source = InputPartition(hiding.topic, 0)
    following.assign({source: reader.ends(source)[1]})

    def reads_new() -> bool:
        producer.produce(hiding.topic, b"{}", partition=0)
        producer.flush(0.2)
        return bool(following.poll(0.1))

    assert until(reads_new, BACK_SECONDS)
    hiding.hide(reads_new)
    assert until(reads_new, BACK_SECONDS)
    hiding.hide(reader.serve)
    assert reader.ends(source)[1] > 0
    following.close()


def test_an_admin_client_answers_again(hiding: HidingCluster) -> None:
    admin = make_admin(hiding.settings)
    assert answers(admin)
    hiding.hide(lambda: answers(admin))
    assert until(lambda: answers(admin), BACK_SECONDS)


def answers(admin: AdminClient) -> bool:
    admin.poll(0)
    try:
        return bool(admin.list_topics(timeout=0.5).brokers)
    except KafkaException:
        return False


def test_a_file_is_sent_through_it(hiding: HidingCluster, tmp_path: Path) -> None:
    name, file = new_topics(hiding.settings), tmp_path / "events.jsonl"
    file.write_bytes(b"".join(orjson.dumps({"id": n}) + b"\n" for n in range(400)))
    summaries: list[ProduceSummary] = []

    def send() -> None:
        summaries.append(produce_file(hiding.settings, small_pipeline(name), str(file), rate=100))

    sending = Thread(target=send)
    sending.start()
    time.sleep(1)
    hiding.hide(sending.is_alive)
    sending.join(60 * PATIENCE)
    assert summaries == [ProduceSummary(f"{name}.raw", produced=400)]
    assert len(read(hiding.settings, name, "raw")) == 400


def test_without_the_restorer_clients_stay_lost(hiding: HidingCluster) -> None:
    """If this fails with a newer client, the restorer is no longer needed."""
    config = client_config(hiding.settings)
    sends = [delivers(Producer(config), hiding.topic) for _ in range(4)]

    def all_deliver() -> bool:
        return sum(send() for send in sends) == len(sends)

    # A client is lost if it asks in that time, which on a busy machine it may not do at once.
    for _ in range(5):
        assert until(all_deliver, BACK_SECONDS)
        hiding.hide(all_deliver)
        if not until(all_deliver, 6):
            return
    raise AssertionError("all clients are back each time")
