"""Workers recover from deleted topics and offsets without losing records."""

import time
from functools import partial
from pathlib import Path

import pytest
from confluent_kafka import KafkaException, Message

from stream_app.broker import EmbeddedBroker
from stream_app.errors import DataLossError
from stream_app.kafka.clients import make_admin
from stream_app.kafka.topics import create_topics
from stream_app.topic_kinds import TopicKind, topic_name
from tests.faults.run import RATE, await_recovery, running, supervised
from tests.running_system import Load, System, dead_letters

# Longer than a worker tries to commit.
AWAY_SECONDS = 50
SCORERS = ("score-0", "score-1")

pytestmark = pytest.mark.faults


def test_failed_records_wait_until_a_deleted_dead_letter_topic_exists_again(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    """No record counts as dead-lettered without a dead letter."""
    with supervised(broker, tmp_path) as (system, load, supervision):
        load.stop()
        counts = system.await_outcomes()
        dead_letters_before = list(system.read("raw.dlq"))
        delete(system, "raw.dlq")
        more = Load(system, RATE, load.count)
        more.start()
        time.sleep(AWAY_SECONDS)
        assert system.record_counts().dead == counts.dead
        create_topics(make_admin(system.settings), system.name, system.settings)
        restore(system, "raw.dlq", dead_letters_before)
        print(
            f"\n{AWAY_SECONDS} s without dead letters: {await_recovery(system)}; "
            f"{supervision.report()}"
        )
        assert not supervision.exits
        more.stop()
        assert dead_letters(system.read("raw.dlq")) > counts.dead


def test_scorers_stop_at_a_recreated_raw_topic_until_data_loss_is_accepted(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    """Committed offsets are invalid; after acceptance every new record is scored."""
    with running(broker, tmp_path) as (system, load):
        load.stop()
        system.await_outcomes()
        delete(system, "raw")
        create_topics(make_admin(system.settings), system.name, system.settings)
        base = int(time.time() * 1000) - 3_600_000
        for number in range(load.count, load.count + 200):
            system.send_event(number, base + number)
        system.producer.flush(30)
        began = time.monotonic()
        exits = [system.workers[worker].wait(60) for worker in SCORERS]
        print(
            f"\nboth scorers exited {time.monotonic() - began:.1f} s "
            f"after the topic was recreated: {exits}"
        )
        assert exits == [DataLossError.exit_code] * len(SCORERS)
        for worker in SCORERS:
            process = system.start(*worker.split("-"))
            assert process.wait(60) == DataLossError.exit_code, system.log(worker)
        for worker in SCORERS:
            system.start(*worker.split("-"), STREAM_APP_WORKER__ACCEPT_DATA_LOSS="true")
        system.await_outcomes()


def test_expired_group_offsets_are_replaced_by_those_of_state_and_checkpoint(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    """Kafka deletes them after a week without workers."""
    with supervised(broker, tmp_path) as (system, _, supervision):
        workers = (*SCORERS, "learn-0")
        supervision.stopped.update(workers)
        for worker in workers:
            system.terminate(worker)
        for role in ("score", "learn"):
            system.until(
                partial(delete_group, system, f"{system.name}.{role}"),
                30,
                "the group still has members",
            )
        system.start_all(scorers=2)
        supervision.stopped.clear()
        print(f"\nwithout committed offsets: {await_recovery(system)}; {supervision.report()}")


def delete(system: System, kind: TopicKind) -> None:
    """Deletes a topic and waits until it no longer exists."""
    admin, topic = make_admin(system.settings), topic_name(system.name, kind)
    admin.delete_topics([topic])[topic].result(30)
    system.until(
        lambda: topic not in admin.list_topics(timeout=10).topics, 30, f"{topic} is still there"
    )
    system.restart_readers()


def restore(system: System, kind: TopicKind, messages: list[Message]) -> None:
    """Restores the records of a topic to their partitions, as from a backup."""
    for message in messages:
        system.producer.produce(
            topic_name(system.name, kind),
            message.value(),
            message.key(),
            partition=message.partition() or 0,
            headers=message.headers(),
        )
    system.producer.flush(30)


def delete_group(system: System, group: str) -> bool:
    """Deletes a group with its offsets; returns False while it has members."""
    # The client must exist until the response.
    admin = make_admin(system.settings)
    try:
        admin.delete_consumer_groups([group])[group].result(30)
    except KafkaException:
        return False
    return True
