"""Every bad record becomes a dead letter with the right code, and good records are scored."""

import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import orjson
import pytest
from confluent_kafka import Producer

from stream_app.broker import EmbeddedBroker
from tests.patience import PATIENCE
from tests.running_system import System, headers
from tests.small_pipeline import event, label

HOUR = 3_600_000
AT = int(time.time() * 1000) - 10 * HOUR
DECLARED = """
from river import base
from tests.small_pipeline import small_pipeline

def features(fields):
    amount = fields["amount"]
    if amount == -1:
        raise RuntimeError("model error")
    if amount == -2:
        return {"amount": float("nan")}
    return {"amount": amount, "note": "x" * int(-amount)} if amount < -2 else {"amount": amount}

class FailingModel(base.Classifier):
    def learn_one(self, x, y):
        return self

    def predict_proba_one(self, x):
        if x["amount"] == 1001:
            raise ArithmeticError("model error")
        return {True: float("nan") if x["amount"] == 1002 else 0.25}

pipeline = small_pipeline("NAME", features=features, model=FailingModel)
"""


@pytest.fixture
def system(broker: EmbeddedBroker, tmp_path: Path) -> Iterator[System]:
    """Scorer and learner with raw records of up to 4 MiB."""
    name = f"bad-{uuid4().hex[:8]}"
    with System(
        broker.bootstrap_servers, tmp_path, name, DECLARED, max_message_bytes=4 << 20
    ) as system:
        system.start_all()
        yield system


def send(
    system: System,
    number: int,
    value: bytes | None = None,
    key: bytes | None = b"",
    **changes: object,
) -> None:
    fields = event(number, AT + number, **changes)
    body = orjson.dumps(fields) if value is None else value
    system.send("raw", body, fields["id"].encode() if key == b"" else key)


def test_bad_records_become_dead_letters_and_the_rest_is_scored(system: System) -> None:
    expected = {
        1: "invalid-json",
        2: "missing-field",
        3: "wrong-type",
        4: "not-finite",
        5: "not-finite",
        6: "output-too-large",
        7: "empty-value",
        8: "empty-value",
        9: "missing-key",
        10: "key-mismatch",
        11: "features-failed",
        12: "feature-invalid",
        15: "not-an-object",
        16: "invalid-json",
    }
    send(system, 1, b'{"id":')
    send(system, 2, orjson.dumps({"id": "e2", "at": AT}))
    send(system, 3, amount="much")
    send(system, 4, b'{"id":"e4","at":%d,"amount":NaN}' % AT)
    send(system, 5, b'{"id":"e5","at":%d,"amount":1e999}' % AT)
    send(system, 6, amount=-4_260_000.0)
    send(system, 7, b"")
    system.send("raw", None, b"e8")
    send(system, 9, key=None)
    send(system, 10, key=b"e99")
    send(system, 11, amount=-1)
    send(system, 12, amount=-2)
    send(system, 13, amount=1001)
    send(system, 14, amount=1002)
    send(system, 15, b"[1, 2]")
    send(system, 16, b"\xff\xfe\x00")
    for number in range(100, 150):
        send(system, number, amount=1.0)
    send(system, 150, country="L" * 2_000_000, amount=2.0)

    counts = system.await_outcomes()

    assert counts.dead == {
        code: list(expected.values()).count(code) for code in set(expected.values())
    }
    # An untrained model that fails, or gives an invalid score, is replaced by the prior.
    assert (counts.scored, counts.degraded) == (53, 2)
    original = {(m.partition(), str(m.offset())): (m.key(), m.value()) for m in system.read("raw")}
    for message in system.read("raw.dlq"):
        source = (message.partition(), headers(message)["stream-app-original-offset"])
        assert (message.key(), message.value()) == original[source]
        assert headers(message)["stream-app-original-topic"] == f"{system.name}.raw"
        assert headers(message)["stream-app-error-fingerprint"]
    system.check_outcomes()


def test_early_duplicate_and_broken_labels_are_joined_counted_or_dead_lettered(
    system: System,
) -> None:
    # Twice before its event.
    system.send_label(1, AT + HOUR)
    system.send_label(1, AT + HOUR)
    system.producer.flush(60)
    system.until(lambda: system.record_counts().labels == 2, 60, "labels are not read")
    system.send_event(1, AT)
    system.send_event(2, AT)
    system.producer.flush(60)
    system.until(lambda: system.record_counts().joined == 1, 20, "the waiting label is not joined")
    # Twice after its event.
    system.send_label(2, AT + HOUR)
    system.send_label(2, AT + HOUR)
    system.send_label(3, AT + HOUR, fraud="perhaps")  # type: ignore[arg-type]  # wrong on purpose
    system.send("labels", b"?", b"e4")
    system.send("labels", orjson.dumps(label(5, AT)), None)
    system.send("labels", orjson.dumps(label(6, AT)), b"e7")

    counts = system.await_outcomes()

    assert (counts.joined, counts.label_duplicates) == (2, 2)
    assert counts.label_dead == {
        "wrong-type": 1,
        "invalid-json": 1,
        "missing-key": 1,
        "key-mismatch": 1,
    }
    system.check_outcomes()


def test_a_label_without_an_event_becomes_a_dead_letter(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    with System(
        broker.bootstrap_servers, tmp_path, f"bad-{uuid4().hex[:8]}", partitions=1
    ) as system:
        system.start_all()
        system.send_label(1, AT)
        # The clock passes what twelve events have reached, once the labels are complete.
        for number in range(10, 22):
            system.send_event(number, AT + 8 * HOUR)
        system.await_outcomes()
        system.complete_labels(AT + 8 * HOUR)
        system.await_outcomes()
        system.until(
            lambda: system.record_counts().label_dead == {"unknown-event": 1},
            20,
            "the label still waits",
        )


def test_an_event_sent_twice_is_a_duplicate_even_after_a_restart(system: System) -> None:
    system.send_event(1, AT)
    system.await_outcomes()
    assert system.terminate("score-0") < 5 * PATIENCE
    system.start("score")
    system.send_event(1, AT)
    assert system.await_outcomes().duplicates == 1
    system.check_outcomes()


def test_records_of_every_compression_are_scored(system: System) -> None:
    for number, codec in enumerate(("none", "gzip", "snappy", "lz4", "zstd")):
        system.producer.flush(60)
        system.producer = Producer(
            {
                "bootstrap.servers": system.servers,
                "log_level": 0,
                "compression.type": codec,
                "partitioner": "murmur2_random",
            }
        )
        system.send_event(number, AT + number)
    assert system.await_outcomes().scored == 5
