"""Scorers serve the last good version when the artifact store or the models topic fails."""

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
from tests.faults.run import RATE, await_learner, await_progress, await_recovery, running
from tests.faults.test_topics import delete, restore
from tests.model_admin.decision_setup import VersionedSystem
from tests.running_system import Load, System

AWAY_SECONDS = 15

pytestmark = pytest.mark.faults


def test_an_unavailable_store_stops_neither_scoring_nor_learning(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    """The learner opens an alarm; a scorer that starts waits for the store."""
    with running(broker, tmp_path) as (system, _):
        await_learner(system)
        with unavailable(store_folder(system)):
            version = served(system)
            before = system.record_counts().events
            system.kill("score-1")
            system.start("score", "1")
            time.sleep(AWAY_SECONDS)
            rate = (system.record_counts().events - before) / AWAY_SECONDS
            assert served(system) == version
            assert "store-unavailable" in alarms(system)
        print(f"\n{rate:.0f} events/s without a store; {await_recovery(system)}")
        assert rate > 0
        system.until(lambda: served(system) > version, 30, "no newer version is served")
        system.until(
            lambda: alarms(system)["store-unavailable"] is False, 30, "the alarm does not end"
        )


def test_a_scorer_without_the_store_serves_its_version_until_the_store_returns(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    with VersionedSystem(broker, tmp_path) as system:
        link = tmp_path / "mounted"
        system.start("learn")
        system.until(store_folder(system).exists, 30, "the learner has no store")
        link.symlink_to(store_folder(system).parent)
        system.start("score", STREAM_APP_STORE_URL=link.as_uri())
        system.learn()
        good = max(system.registry.versions)
        system.serves(good)
        link.unlink()
        link.write_bytes(b"")
        system.learn(2)
        system.until(
            lambda: "version does not load" in system.log("score-0"),
            20,
            "the scorer does not report it",
        )
        assert served(system) == good
        link.unlink()
        link.symlink_to(store_folder(system).parent)
        print(
            f"\nthe newest version was served {system.serves(max(system.registry.versions)):.1f} s "
            "after the store had returned"
        )


def test_a_damaged_artifact_is_rejected_until_it_is_restored(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    """The last good version is served in the meantime."""
    with VersionedSystem(broker, tmp_path) as system:
        system.start_all()
        system.learn()
        good = served(system)
        scorer, learner = system.workers["score-0"], system.workers["learn-0"]
        learner.send_signal(signal.SIGSTOP)
        system.send_batch()
        system.await_outcomes()
        # The scorer must not load the next version before its artifact is damaged.
        scorer.send_signal(signal.SIGSTOP)
        learner.send_signal(signal.SIGCONT)
        system.until(
            lambda: system.learned() == system.sent["labels"], 5, "some labels are not learned"
        )
        newest = max(system.registry.versions)
        file = Path(system.loader.store.locate(system.registry.manifest(newest).sha256))
        content = file.read_bytes()
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        scorer.send_signal(signal.SIGCONT)
        system.until(
            lambda: "is damaged" in system.log("score-0"), 20, "the scorer does not reject it"
        )
        assert served(system) < newest
        assert served(system) >= good
        file.write_bytes(content)
        print(f"\nserved {system.serves(newest):.1f} s after the file was restored")
        system.check_registry()


def test_a_slow_store_delays_versions_but_not_scores(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    """Every read and write takes three seconds."""
    name = f"slow-{uuid4().hex[:8]}"
    with System(
        broker.bootstrap_servers, tmp_path, name, slow_store.DECLARED, partitions=2
    ) as system:
        system.environment["STREAM_APP_STORE_URL"] = f"slow://{tmp_path / 'store'}"
        system.environment["STREAM_APP_LEARN__PUBLISH_SHARE"] = "0.5"
        system.start_all()
        load = Load(system, RATE)
        load.start()
        system.until(lambda: system.record_counts().scored > 0, 60, "no event is scored")
        await_progress(system)
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


def test_scorers_recover_from_a_deleted_and_restored_models_topic(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    """Scorers serve their version until the records are restored from a backup."""
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
        # A new admin client, as every command creates its own.
        system.admin = ModelAdmin(system.settings, system.name)
        # Publishes a version newer than those of the backup.
        system.learn()
        newest = newest_version(system)
        assert newest > version
        seconds = system.serves(newest, 60)
        print(f"\nthe newest version was served {seconds:.1f} s after it was published")


@contextmanager
def unavailable(folder: Path) -> Iterator[None]:
    """Replaces a folder by a file, which fails even for root, as a lost mount does."""
    aside = folder.with_name(f"{folder.name}-aside")
    os.rename(folder, aside)
    folder.write_bytes(b"")
    try:
        yield
    finally:
        folder.unlink()
        os.rename(aside, folder)


def store_folder(system: System) -> Path:
    return system.settings.data_dir / "store" / system.name


def served(system: System) -> int:
    """Returns the newest version that has scored."""
    return max((int(value["model"]["version"]) for value in system.values("scored")), default=-1)


def newest_version(system: VersionedSystem) -> int:
    return max(system.admin.registry().versions, default=-1)


def alarms(system: System) -> dict[str, bool]:
    """Returns the state of each alarm by name, True while it is open."""
    return {
        value["name"]: value["breached"]
        for value in system.values("monitoring")
        if value["kind"] == "alarm"
    }
