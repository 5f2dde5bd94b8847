"""Records of an open transaction hold back what their times would close."""

import time
from pathlib import Path
from uuid import uuid4

import orjson
from confluent_kafka import Producer

from stream_app.broker import EmbeddedBroker
from tests.running_system import System
from tests.small_pipeline import label

SECOND = 1000
DECLARED = """
from dataclasses import replace
from datetime import timedelta
from tests.small_pipeline import small_pipeline
second = timedelta(seconds=1)
label = replace(small_pipeline().label, horizon=second, allowed_lateness=second)
pipeline = small_pipeline("NAME", label=label)
"""


def test_a_prediction_stays_open_while_its_label_is_in_an_open_transaction(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    name = f"open-{uuid4().hex[:8]}"
    with System(broker.bootstrap_servers, tmp_path, name, DECLARED) as system:
        at = int(time.time() * SECOND) - 3_600_000
        producer = Producer(
            {
                "bootstrap.servers": broker.bootstrap_servers,
                "log_level": 0,
                "partitioner": "murmur2_random",
                "transactional.id": f"{name}-labels",
                # Longer than the test takes on a slow machine.
                "transaction.timeout.ms": 600_000,
            }
        )
        system.start_all()
        system.send_event(0, at)
        system.until(lambda: system.record_counts().scored == 1, 120, "the event is not scored")
        producer.init_transactions(60)
        producer.begin_transaction()
        producer.produce(f"{name}.labels", orjson.dumps(label(0, at + 500)), b"e0")
        producer.flush(60)
        # On every partition, these move the watermark past the end of the first prediction.
        for number in range(1, 100):
            system.send_event(number, at + 10 * SECOND)
        system.until(lambda: system.record_counts().scored == 100, 30, "not all are scored")
        time.sleep(2)
        assert system.record_counts().expired == 0
        producer.commit_transaction(60)
        system.until(lambda: system.record_counts().joined == 1, 20, "the label was not joined")
