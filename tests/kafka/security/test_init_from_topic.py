"""`init --from-topic` names the right that a user lacks, and needs no other than reading."""

from pathlib import Path
from uuid import uuid4

import orjson
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import NewTopic

from stream_app.kafka.acl import AclRule
from tests.kafka.security.cluster import SecuredCluster
from tests.kafka.security.commands import only_error, run

pytestmark = pytest.mark.broker


def test_a_missing_right_is_named(cluster: SecuredCluster, tmp_path: Path) -> None:
    topic = f"orders-{uuid4().hex[:8]}"
    cluster.admin.create_topics([NewTopic(topic, 2, 1)])[topic].result(60)
    producer = Producer({"bootstrap.servers": cluster.address("INSIDE"), "log_level": 0})
    for number in range(20):
        value = {"id": f"o{number}", "paid_at": 1_740_960_000 + number, "amount": number / 3}
        producer.produce(topic, orjson.dumps(value))
    producer.flush(30)
    command = ("init", "x", "--from-topic", topic, "--dir", str(tmp_path / "x"))

    hidden = only_error(run(tmp_path, cluster.user(), *command))
    assert hidden.startswith(f"error: Kafka does not allow this user to see {topic}")
    visible = cluster.user([AclRule("describe", "topic", topic)])
    unread = only_error(run(tmp_path, visible, *command))
    assert unread.startswith(f"error: Kafka does not allow this user to read {topic}")
    for text in (hidden, unread):
        assert "Grant this user Describe and Read on the topic" in text
    assert list(tmp_path.glob("x*")) == []

    reader = cluster.user([AclRule("read", "topic", topic)])
    done = run(tmp_path, reader, *command)
    assert done.code == 0, done
    assert (tmp_path / "x" / "x.py").exists()
