"""Rights of ingest: those that `acl show` lists suffice, and one on a source may come later."""

import time
from pathlib import Path

import pytest

from stream_app.kafka.acl import AclRole, AclRule, required_acls
from tests.attached_system import PARTITIONS, AttachedSystem
from tests.kafka.security.cluster import PASSWORD, SecuredCluster
from tests.running_system import kafka_environment
from tests.transfer.clusters import unique_name

pytestmark = pytest.mark.broker


def test_a_missing_right_on_one_source_holds_back_no_other_source(
    cluster: SecuredCluster, tmp_path: Path
) -> None:
    with AttachedSystem(cluster.address("INSIDE"), tmp_path, unique_name()) as system:
        refunds = system.topic("refunds")
        rules = required_acls(
            system.name, AclRole.INGESTER, sources=[system.topic(one) for one in PARTITIONS]
        )
        user = cluster.user([rule for rule in rules if rule.name != refunds])
        principal = f"User:{user.username}"
        worker = system.start("ingest", **kafka_environment(user))
        system.send_orders(40)
        system.await_ingested("orders", "verdicts")
        assert system.ingested()["refunds"] == 0
        cluster.grant(principal, [AclRule("describe", "topic", refunds)])
        system.until(
            lambda: "it may not be read by this user" in reasons(system, refunds),
            60,
            "nothing says so",
        )
        cluster.grant(principal, [AclRule("read", "topic", refunds)])
        system.await_ingested()
        cluster.revoke(principal, "read", "topic", refunds)
        before = len(system.sent_records("refunds"))
        # Until the worker notices, its transactions have offsets of the topic.
        for _ in range(3):
            system.send_orders(20)
            time.sleep(1)
        system.await_ingested("orders", "verdicts")
        system.until(lambda: len(reasons(system, refunds)) == 4, 60, "nothing says so")
        assert system.ingested()["refunds"] < before + 60
        cluster.grant(principal, [AclRule("read", "topic", refunds)])
        system.await_ingested()
        assert worker.poll() is None
        assert reasons(system, refunds) == [
            "it does not exist, or this user may not see it",
            "it may not be read by this user",
            None,
            "it may not be read by this user",
            None,
        ]
        log = (tmp_path / "ingest-0.log").read_text()
        assert "Traceback" not in log
        assert PASSWORD not in log
        system.terminate("ingest-0")
        keys = [message.key() for message in system.read("raw") if message.value() is not None]
        refunded = [key for key in keys if key is not None and key.startswith(b"r")]
        assert len(refunded) == len(set(refunded))


def reasons(system: AttachedSystem, topic: str) -> list[str | None]:
    """Return what the worker has said about a topic: why it cannot be read, or None once it can."""
    return [line.get("why") for line in system.said(topic)]
