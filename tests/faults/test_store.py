"""The artifact store and the models topic fail: scorers go on with the last version that they could load."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from stream_app.broker import EmbeddedBroker
from stream_app.kafka.clients import make_admin
from stream_app.kafka.topics import create_topics
from stream_app.model_admin.model_admin import ModelAdmin
from tests.faults import slow_store
from tests.faults.run import RATE, back, learner_beyond, recovered, running
from tests.faults.test_topics import delete, restore
from tests.model_admin.decision_setup import VersionedSystem
from tests.running_system import Load, System

AWAY_SECONDS = 15

pytestmark = pytest.mark.faults


def test_the_store_is_away(broker: EmbeddedBroker, tmp_path: Path) -> None:
    """Scorers score on, the learner learns on and tells of it; a scorer that starts meanwhile waits for it."""
    with running(broker, tmp_path) as (system, _):
        learner_beyond(system)
        with without(store_of(system)):
            version = served(system)
            before = system.record_counts().events
            system.kill("score-1")
            system.start("score", "1")
            time.sleep(AWAY_SECONDS)
            rate = (system.record_counts().events - before) / AWAY_SECONDS
            assert served(system) == version
            assert "store-unavailable" in alarms(system)
        print(f"\n{rate:.0f} events/s without a store; {recovered(system)}")
        assert rate > 0
        system.until(lambda: served(system) > version, 30, "no newer version is served")
        system.until(
            lambda: alarms(system)["store-unavailable"] is False, 30, "the alarm does not end"
        )


def test_the_store_is_away_for_a_scorer_alone(broker: EmbeddedBroker, tmp_path: Path) -> None:
    with VersionedSystem(broker, tmp_path) as system:
        link = tmp_path / "mounted"
        system.start("learn")
        system.until(store_of(system).exists, 30, "the learner has no store")
        link.symlink_to(store_of(system).parent)
        system.start("score", STREAM_APP_STORE_URL=link.as_uri())
        system.learn()
        good = max(system.registry.versions)
        system.serves(good)
        link.unlink()
        link.write_bytes(b"")
        system.learn(2)
        system.until(
            lambda: "version does not load" in system.log("score-0"), 20, "the scorer does not tell"
        )
        assert served(system) == good
        link.unlink()
        link.symlink_to(store_of(system).parent)
        print(
            f"\nthe newest version was served {system.serves(max(system.registry.versions)):.1f} s after the store"
        )


def test_the_newest_artifact_is_damaged(broker: EmbeddedBroker, tmp_path: Path) -> None:
    """It is refused; the last good version serves on, until the file is restored."""
    with VersionedSystem(broker, tmp_path) as system:
        system.start_all()
        system.learn()
        good = served(system)
        scorer, learner = system.workers["score-0"], system.workers["learn-0"]
        learner.send_signal(signal.SIGSTOP)
        system.send_batch()
        system.await_outcomes()
        scorer.send_signal(signal.SIGSTOP)  # before there is the version that it is not to load
        learner.send_signal(signal.SIGCONT)
        system.until(
            lambda: system.learned() == system.sent["labels"], 5, "not everything is learned"
        )
        newest = max(system.registry.versions)
        file = Path(system.loader.store.locate(system.registry.manifest(newest).sha256))
        content = file.read_bytes()
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        scorer.send_signal(signal.SIGCONT)
        system.until(
            lambda: "is damaged" in system.log("score-0"), 20, "the scorer does not refuse it"
        )
        assert served(system) < newest
        assert served(system) >= good
        file.write_bytes(content)
        print(f"\nserved {system.serves(newest):.1f} s after the file was restored")
        system.check_registry()


def test_a_slow_store(broker: EmbeddedBroker, tmp_path: Path) -> None:
    """Every read and write takes three seconds: versions come more seldom, scores as fast as ever."""
    name = f"slow-{uuid4().hex[:8]}"
    with System(
        broker.bootstrap_servers, tmp_path, name, slow_store.DECLARED, partitions=2
    ) as system:
        system.environment["STREAM_APP_STORE_URL"] = f"slow://{tmp_path / 'store'}"
        system.environment["STREAM_APP_LEARN__PUBLISH_SHARE"] = "0.5"
        system.start_all()
        load = Load(system, RATE)
        load.start()
        system.until(lambda: system.record_counts().scored > 0, 60, "did not start")
        back(system)
        before, version = system.record_counts().events, served(system)
        time.sleep(AWAY_SECONDS)
        rate = (system.record_counts().events - before) / AWAY_SECONDS
        print(
            f"\n{rate:.0f} events/s; version {version} became {served(system)} in {AWAY_SECONDS} s"
        )
        assert rate > RATE / 2
        assert served(system) > version
        load.stop()
        system.check_outcomes()


def test_the_models_topic_is_deleted_and_restored(broker: EmbeddedBroker, tmp_path: Path) -> None:
    """Scorers score on with what they have; with the records back from a backup, all goes on by itself."""
    with VersionedSystem(broker, tmp_path) as system:
        system.start_all()
        system.learn(2)
        backup = list(system.read("models"))
        version = max(system.registry.versions)
        system.serves(version)
        before = system.await_outcomes().events
        delete(system, "models")
        system.restart_readers()
        deadline = time.monotonic() + AWAY_SECONDS
        while time.monotonic() < deadline:
            system.send_batch(10)
            time.sleep(0.5)
        system.await_outcomes()
        assert system.record_counts().events > before
        assert served(system) == version
        create_topics(make_admin(system.settings), system.name, system.settings)
        restore(system, "models", backup)
        system.admin = ModelAdmin(
            system.settings, system.name
        )  # as a command would have, for they begin after it
        system.learn()  # which names a newer one than the backup does, whatever was published before that was there
        newest = newest_version(system)
        assert newest > version
        seconds = system.serves(newest, 60)
        print(f"\nthe newest version was served {seconds:.1f} s after it was published")


@contextmanager
def without(folder: Path) -> Iterator[None]:
    """The folder becomes a file, which is what a lost mount is to root as well."""
    aside = folder.with_name(f"{folder.name}-aside")
    os.rename(folder, aside)
    folder.write_bytes(b"")
    try:
        yield
    finally:
        folder.unlink()
        os.rename(aside, folder)


def store_of(system: System) -> Path:
    return system.settings.data_dir / "store" / system.name


def served(system: System) -> int:
    """The newest version that has scored."""
    return max((int(value["model"]["version"]) for value in system.values("scored")), default=-1)


def newest_version(system: VersionedSystem) -> int:
    return max(system.admin.registry().versions, default=-1)


def alarms(system: System) -> dict[str, bool]:
    """By name, whether it lasts."""
    return {
        value["name"]: value["breached"]
        for value in system.values("monitoring")
        if value["kind"] == "alarm"
    }
