"""Events with the same id and different keys: outcomes, and what the commands find by id."""

import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import NewTopic

from stream_app.broker import EmbeddedBroker
from stream_app.errors import SelectionError
from stream_app.kafka.clients import make_admin
from stream_app.kafka.partitioner import java_partition
from tests.running_system import System
from tests.transfer.clusters import unique_name

pytestmark = pytest.mark.broker

PARTITIONS = 3
BASE = 1_700_000_000  # Unix seconds
DECLARED = """
from dataclasses import replace

from stream_app import Epoch, Source
from tests.small_pipeline import small_pipeline

declared = small_pipeline("NAME")
pipeline = small_pipeline(
    "NAME",
    key="country",
    sources=(
        Source(
            topic="NAME.shop.orders",
            name="orders",
            start="earliest",
            fields={
                "id": "order.id",
                "at": Epoch("ts", "s"),
                "country": "order.buyer",
            },
        ),
    ),
    label=replace(
        declared.label,
        sources=(
            Source(
                topic="NAME.shop.verdicts",
                name="verdicts",
                start="earliest",
                fields={"id": "order", "country": "buyer", "known_at": Epoch("ts", "s")},
            ),
        ),
    ),
)
"""


def keys() -> tuple[str, str, str]:
    """Return two keys of one partition, and one of another partition."""
    names = [f"NL/{number}" for number in range(50)]
    first = names[0]
    place = {name: java_partition(name.encode(), PARTITIONS) for name in names}
    same = next(name for name in names[1:] if place[name] == place[first])
    return first, same, next(name for name in names if place[name] != place[first])


class KeyedSystem(System):
    """System whose events and labels come from topics of a producer with other keys."""

    def __init__(self, broker: EmbeddedBroker, folder: Path) -> None:
        super().__init__(
            broker.bootstrap_servers,
            folder,
            unique_name(),
            DECLARED,
            with_sources=True,
            partitions=PARTITIONS,
        )
        admin = make_admin(self.settings)
        topics = [NewTopic(f"{self.name}.shop.{one}", 2, 1) for one in ("orders", "verdicts")]
        for future in admin.create_topics(topics).values():
            future.result(60)
        self.foreign = Producer({"bootstrap.servers": self.servers, "linger.ms": 2})

    def send_order(self, key: str | None, event_id: str, **changes: Any) -> None:
        buyer = {} if key is None else {"buyer": key}
        order = {"order": {"id": event_id, **buyer}, "ts": BASE, "amount": 7.0, **changes}
        self._produce("orders", order)

    def send_verdict(self, key: str, event_id: str, *, fraud: bool) -> None:
        verdict = {"order": event_id, "buyer": key, "ts": BASE + 60, "fraud": fraud}
        self._produce("verdicts", verdict)

    def _produce(self, source: str, fields: dict[str, Any]) -> None:
        self.foreign.produce(f"{self.name}.shop.{source}", orjson.dumps(fields), b"theirs")
        self.foreign.flush(30)

    def await_counts(self, **expected: int) -> None:
        def is_done() -> bool:
            counts = self.record_counts().as_dict()
            return all(counts[name] == count for name, count in expected.items())

        self.until(is_done, 60, f"not {expected}")

    def explained(self, event_id: str, *options: str) -> dict[str, Any]:
        found = self.command("explain", "PIPELINE", event_id, *options, "--json")
        assert found.returncode == 0, found.stderr
        trace: dict[str, Any] = json.loads(found.stdout)
        return trace


def test_the_same_id_with_other_keys_is_another_event_everywhere(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    one, same, other = keys()
    with KeyedSystem(broker, tmp_path) as system:
        system.start_all()
        system.start("ingest")
        for number, key in enumerate((one, same, other)):
            system.send_order(key, "o1", amount=float(number))
        system.send_order(one, "o2")
        # Sent by a producer of the pipeline's own, in its form.
        event = {"id": "o3", "at": BASE * 1000, "amount": 1.0, "country": one}
        system.send("raw", orjson.dumps(event), one.encode())
        system.producer.flush(30)
        system.await_counts(scored=5, duplicates=0)
        assert system.explained("o1", "--key", one)["label"] == "awaited"

        system.kill("score-0")
        system.start("score")
        system.send_order(same, "o1", amount=9.0)
        system.send_order(one, "o4", amount="broken")
        system.send_order(None, "o5")
        system.send_verdict(one, "o1", fraud=True)
        system.send_verdict(other, "o1", fraud=False)
        # Has the key of another event.
        system.send_verdict(other, "o2", fraud=True)
        system.await_counts(scored=5, duplicates=1, joined=2, waiting=1)
        system.until(lambda: len(system.read("raw.dlq")) == 2, 60, "no dead letters")

        listed = sorted((one, same, other))
        failed = system.command("explain", "PIPELINE", "o1")
        assert failed.returncode == SelectionError.exit_code
        assert failed.stderr.endswith(
            f"3 events of {system.name} have the id o1, with the keys "
            f"'{listed[0]}', '{listed[1]}', '{listed[2]}'. Give one of them with --key\n"
        )
        found = {key: system.explained("o1", "--key", key) for key in (one, same, other)}
        for number, (key, trace) in enumerate(found.items()):
            assert (trace["key"], trace["outcome"]) == (key, "scored")
            assert trace["scored"]["score"] == trace["rescored"]["score"]
            assert trace["prepared"]["features"]["amount"] == float(number)
        assert {key: trace["label"] for key, trace in found.items()} == {
            one: "joined",
            same: "awaited",
            other: "joined",
        }
        assert [one["outcome"] for one in found[same]["events"]] == ["scored", "duplicate"]
        assert [found[key]["learned"]["label"] for key in (one, other)] == [True, False]
        missing = system.command("explain", "PIPELINE", "o1", "--key", "nobody")
        assert "is about an event o1 with the key nobody" in " ".join(missing.stderr.split())

        trace = system.explained("o2")
        assert (trace["key"], trace["label"]) == (one, "awaited")
        (label,) = trace["labels"]
        assert label["outcome"] == (
            f"it has another key, {other}: it is the label of another event"
        )
        assert system.explained("o3")["outcome"] == "scored"
        broken = system.explained("o4")
        assert broken["outcome"] == "dead-lettered"
        assert broken["events"][0]["failure"]["code"] == "wrong-type"

        to = tmp_path / "examples.jsonl"
        exported = system.command("export", "PIPELINE", "--out", str(to))
        assert exported.returncode == 0, exported.stderr
        rows = [json.loads(line) for line in to.read_text().splitlines()]
        assert {(row["key"], row["event_id"]) for row in rows} == {(one, "o1"), (other, "o1")}

        without_key = system.explained("o5")
        assert (without_key["key"], without_key["outcome"]) == (None, "dead-lettered")
        (rejected,) = without_key["events"]
        assert rejected["topic"] == f"{system.name}.shop.orders"
        assert rejected["failure"]["code"] == "missing-field"

        # The index finds the id where the source has it.
        letters = system.command("dead-letters", "list", "PIPELINE", "--json")
        entries = [json.loads(line) for line in letters.stdout.splitlines()]
        assert {(entry["event_id"], entry["key"]) for entry in entries} == {
            ("o4", one),
            ("o5", None),
        }
