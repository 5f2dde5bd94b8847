"""Somebody deletes what the workers rely on: the dead letters, the raw records, the group's offsets."""

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
from tests.faults.run import RATE, kept, recovered, running
from tests.running_system import Load, System, dead_letters

AWAY_SECONDS = 50  # longer than a worker tries to commit
SCORERS = ("score-0", "score-1")

pytestmark = pytest.mark.faults


def test_the_dead_letter_topic_is_deleted_and_comes_back(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    """What cannot be scored waits for its place; no record counts as dead-lettered without a dead letter."""
    with kept(broker, tmp_path) as (system, load, keeper):
        load.stop()
        books = system.await_outcomes()
        letters = list(system.read("raw.dlq"))
        delete(system, "raw.dlq")
        more = Load(system, RATE, load.count)
        more.start()
        time.sleep(AWAY_SECONDS)
        assert system.record_counts().dead == books.dead
        create_topics(make_admin(system.settings), system.name, system.settings)
        restore(system, "raw.dlq", letters)
        print(f"\n{AWAY_SECONDS} s without dead letters: {recovered(system)}; {keeper.report()}")
        assert not keeper.endings
        more.stop()
        assert dead_letters(system.read("raw.dlq")) > books.dead


def test_the_raw_topic_is_made_anew(broker: EmbeddedBroker, tmp_path: Path) -> None:
    """Offsets mean nothing any more: nobody goes on until a person says so, and then with every new record."""
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
        endings = [system.workers[worker].wait(60) for worker in SCORERS]
        print(
            f"\nboth scorers ended {time.monotonic() - began:.1f} s after the topic was made anew: {endings}"
        )
        assert endings == [DataLossError.exit_code] * len(SCORERS)
        for worker in SCORERS:
            process = system.start(*worker.split("-"))
            assert process.wait(60) == DataLossError.exit_code, system.log(worker)
        for worker in SCORERS:
            system.start(*worker.split("-"), STREAM_APP_WORKER__ACCEPT_DATA_LOSS="true")
        system.await_outcomes()


def test_the_groups_offsets_have_expired(broker: EmbeddedBroker, tmp_path: Path) -> None:
    """As after a week without workers: the positions in the state and in the checkpoint are as good."""
    with kept(broker, tmp_path) as (system, _, keeper):
        workers = (*SCORERS, "learn-0")
        keeper.resting.update(workers)
        for worker in workers:
            system.terminate(worker)
        for role in ("score", "learn"):
            system.until(partial(forgotten, system, f"{system.name}-{role}"), 30, "the group stays")
        system.start_all(scorers=2)
        keeper.resting.clear()
        print(f"\nwithout committed offsets: {recovered(system)}; {keeper.report()}")


def delete(system: System, kind: TopicKind) -> None:
    """Delete a topic, and wait until nobody sees it any more."""
    admin, topic = make_admin(system.settings), topic_name(system.name, kind)
    admin.delete_topics([topic])[topic].result(30)
    system.until(
        lambda: topic not in admin.list_topics(timeout=10).topics, 30, f"{topic} is still there"
    )
    system.restart_readers()


def restore(system: System, kind: TopicKind, messages: list[Message]) -> None:
    """Put records where they were, as from a copy of the topic."""
    for message in messages:
        system.producer.produce(
            topic_name(system.name, kind),
            message.value(),
            message.key(),
            partition=message.partition() or 0,
            headers=message.headers(),
        )
    system.producer.flush(30)


def forgotten(system: System, group: str) -> bool:
    """Delete a group with its offsets; False while it has members."""
    admin = make_admin(system.settings)  # which has to live until it has answered
    try:
        admin.delete_consumer_groups([group])[group].result(30)
    except KafkaException:
        return False
    return True
