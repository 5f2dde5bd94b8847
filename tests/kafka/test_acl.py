"""Rules of a role, without a cluster."""

from dataclasses import replace

import pytest

from stream_app import Alarms
from stream_app.kafka.acl import AclRole, AclRule, pipeline_acls, required_acls
from stream_app.kafka.topic_uses import ROLE_INPUTS, group_name, member_name
from stream_app.sources import Source
from stream_app.topic_kinds import KINDS, topic_name
from tests.small_pipeline import small_pipeline


def used_by(pipeline: str) -> set[tuple[str, str]]:
    """Return every topic, group and transactional id that a pipeline uses."""
    ids = [member_name(pipeline, role, 0) for role in ROLE_INPUTS]
    ids += [member_name(pipeline, user, "x") for user in ("replayer", "model-admin", "alarm-admin")]
    return {
        *(("topic", topic_name(pipeline, kind)) for kind in KINDS),
        *(("group", group_name(pipeline, role)) for role in ROLE_INPUTS),
        *(("transactional_id", name) for name in ids),
    }


def covers(rule: AclRule, resource: str, name: str) -> bool:
    matches = name.startswith(rule.name) if rule.prefixed else name == rule.name
    return rule.resource == resource and matches


@pytest.mark.parametrize("other", ["payments-score-eu", "payments-replayed", "payments-learn", "p"])
def test_no_acl_covers_anything_of_a_pipeline_with_a_similar_name(other: str) -> None:
    for mine, theirs in (("payments", other), (other, "payments")):
        rules = required_acls(mine, *AclRole, sources=["shop.orders"])
        covered = [(rule, use) for use in used_by(theirs) for rule in rules if covers(rule, *use)]
        assert covered == []
        assert all(any(covers(rule, *use) for rule in rules) for use in used_by(mine))


def test_a_direct_topic_is_read_by_those_who_read_raw_records_and_by_no_ingester() -> None:
    def source(topic: str, **changes: bool) -> Source:
        return Source(topic=topic, start="earliest", **changes)  # type: ignore[arg-type]

    label = replace(small_pipeline().label, sources=(source("shop.verdicts"),))
    pipeline = small_pipeline(sources=(source("shop.orders", direct=True),), label=label)
    found = {
        role: {
            rule.operation for rule in pipeline_acls(pipeline, role) if rule.name == "shop.orders"
        }
        for role in AclRole
    }
    assert {role for role, operations in found.items() if operations == {"read"}} == {
        "scorer",
        "replayer",
        "model-admin",
        "observer",
    }
    assert {role for role, operations in found.items() if operations == {"describe"}} == {
        "operator"
    }
    ingester = {rule.name for rule in pipeline_acls(pipeline, AclRole.INGESTER)}
    assert "shop.verdicts" in ingester
    assert "shop.orders" not in ingester


def written(role: AclRole, alarms: Alarms) -> set[str]:
    """Returns the kinds of the topics that a user with this role may write."""
    rules = pipeline_acls(small_pipeline(alarms=alarms), role)
    return {
        rule.name.removeprefix("payments.")
        for rule in rules
        if (rule.operation, rule.resource) == ("write", "topic")
    }


def test_a_monitor_writes_decisions_only_if_it_may_pause_sources() -> None:
    usual = {"monitoring", "alarms", "monitor.state"}
    assert written(AclRole.MONITOR, Alarms()) == usual
    paused = written(AclRole.MONITOR, Alarms(action="pause"))
    assert paused == usual | {"examples", "models", "audit"}


def test_no_producer_can_name_the_source_of_a_label_if_alarms_pause_it() -> None:
    assert written(AclRole.PRODUCER, Alarms()) == {"raw", "labels"}
    assert written(AclRole.PRODUCER, Alarms(action="pause")) == {"raw"}
    both = pipeline_acls(
        small_pipeline(alarms=Alarms(action="pause")), AclRole.PRODUCER, AclRole.INGESTER
    )
    assert AclRule("write", "topic", "payments.labels") not in both
