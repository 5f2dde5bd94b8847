"""Filters of sources that crash, hang or exhaust ingest: one dead letter each, nothing is lost."""

import time
from collections import Counter
from pathlib import Path

import orjson
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import NewTopic

from stream_app.broker import EmbeddedBroker
from stream_app.kafka.clients import make_admin
from tests.patience import PATIENCE
from tests.running_system import System, headers
from tests.transfer.clusters import unique_name
from tests.worker.poison import (
    CODES,
    HOARD,
    LEAVE,
    SEGFAULT,
    SOURCES,
    SPIN,
    Restarting,
    machine_load,
)


class Shop:
    """Topic of a source with two partitions, and its producer."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._topic = f"{system.name}.shop"
        admin = make_admin(system.settings)
        admin.create_topics([NewTopic(self._topic, 2, 1)])[self._topic].result(60)
        self._producer = Producer({"bootstrap.servers": system.servers})
        self.sent = 0

    def send(self, poison: int = 0) -> tuple[int, int]:
        """Send a record; returns its partition and offset."""
        number = self.sent
        value = {"id": f"e{number}", "ts": 1_700_000_000 + number, "amount": 1.0, "country": "NL"}
        self._producer.produce(
            self._topic, orjson.dumps({**value, "poison": poison}), b"k", partition=number % 2
        )
        self._producer.flush(30)
        self.sent += 1
        return number % 2, number // 2

    def await_all(self) -> None:
        """Wait until every record is forwarded or a dead letter."""
        self._system.until(
            lambda: len(forwarded(self._system)) + len(letters(self._system)) >= self.sent,
            90 * machine_load(),
            "not every record has an outcome",
        )


def forwarded(system: System) -> list[bytes]:
    """Return the key of each record that was forwarded."""
    return [message.key() or b"" for message in system.read("raw") if message.value() is not None]


def letters(system: System) -> list[dict[str, str]]:
    """Return the headers of each dead letter."""
    return [dict(headers(message)) for message in system.read("raw.dlq")]


def coordinates(letter: dict[str, str]) -> tuple[int, int]:
    """Return partition and offset of a dead letter's record."""
    return (
        int(letter["stream-app-original-partition"]),
        int(letter["stream-app-original-offset"]),
    )


def test_records_whose_filter_kills_ingest_are_dead_letters_and_no_other_record_is_lost(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    with System(
        broker.bootstrap_servers, tmp_path, unique_name(), SOURCES, with_sources=True
    ) as system:
        shop = Shop(system)
        system.start("ingest")
        with Restarting(system, "ingest-0") as restarting:
            for _ in range(20):
                shop.send()
            shop.await_all()
            poison = {}
            for kind in (SEGFAULT, SPIN, LEAVE, HOARD):
                poison[shop.send(kind)] = CODES[kind]
                for _ in range(5):
                    shop.send()
                shop.await_all()
            # The first costs a worker; after it every record gets a trial run.
            assert len(restarting.exit_codes) == 1
        found = letters(system)
        assert {coordinates(one): one["stream-app-error-code"] for one in found} == poison
        assert {one["stream-app-error-stage"] for one in found} == {"ingest"}
        assert {one["stream-app-original-topic"] for one in found} == {f"{system.name}.shop"}
        names = {one["stream-app-source"].rpartition("/")[0] for one in found}
        assert names == {f"shop/{partition}/{offset}" for partition, offset in poison}
        assert "in segfault" in next(
            one["stream-app-error-message"]
            for one in found
            if one["stream-app-error-code"] == "record-crashes"
        )
        assert Counter(forwarded(system)).most_common(1)[0][1] == 1
        assert len(forwarded(system)) == shop.sent - len(poison)
        alarms = {one["name"] for one in system.values("monitoring") if one["kind"] == "alarm"}
        assert "poison-records" in alarms
        system.terminate("ingest-0")


@pytest.mark.faults
def test_such_a_record_is_found_without_a_journal(broker: EmbeddedBroker, tmp_path: Path) -> None:
    """Each worker starts with an empty data folder, as on another machine."""
    with System(
        broker.bootstrap_servers, tmp_path, unique_name(), SOURCES, with_sources=True
    ) as system:
        shop = Shop(system)
        shop.send()
        poison = shop.send(SEGFAULT)
        for _ in range(10):
            shop.send()
        started, deaths = time.monotonic(), 0
        while True:
            worker = system.start("ingest", STREAM_APP_DATA_DIR=str(tmp_path / f"data-{deaths}"))
            while worker.poll() is None and not letters(system):
                assert time.monotonic() - started < 180 * PATIENCE, system.log("ingest-0")
                time.sleep(0.2)
            if letters(system):
                break
            deaths += 1
            assert deaths < 6, "the worker ends again and again"
        shop.await_all()
        (letter,) = letters(system)
        assert letter["stream-app-source"].startswith(f"shop/{poison[0]}/{poison[1]}/")
        assert deaths <= 2
