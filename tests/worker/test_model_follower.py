"""The model follower ignores unreadable records and reports versions that do not load."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from stream_app.broker import EmbeddedBroker
from stream_app.core.evaluation.prediction_tasks import BinaryTask
from stream_app.errors import IncompatibleModelError
from stream_app.kafka.clients import client_config
from stream_app.model_store.key_files import create_key
from stream_app.model_store.manifest import (
    CHAMPION_KEY,
    Alias,
    Manifest,
    check_runtime,
    encode_alias,
    runtime,
    version_key,
)
from stream_app.model_store.model_loading import LoadedModel
from stream_app.model_store.signing import Signer, sign, verify
from stream_app.model_store.trusted_keys import NoTrustedKeyError, TrustedKeys
from stream_app.worker.model_follower import ModelFollower
from tests.learning import logistic
from tests.model_store.keyrings import MANIFEST, key_paths_in
from tests.patience import PATIENCE
from tests.transfer.clusters import new_topics, producer, settings_for

pytestmark = pytest.mark.broker


class FollowedTopic:
    """Follower, and producer of the topic that it follows."""

    def __init__(self, broker: EmbeddedBroker, folder: Path) -> None:
        settings = settings_for(broker)
        self.topic = f"{new_topics(settings)}.models"
        self.producer: Producer = producer(settings)
        self.paths = key_paths_in(folder)
        self.trusted = TrustedKeys(self.paths.trusted)
        self.failed: list[BaseException] = []
        self._config = client_config(settings)
        self.start()

    def start(self) -> None:
        """Start a follower without a version."""
        self.follower = ModelFollower(self._config, self.topic, self._load, self.failed.append)
        self.follower.start()

    def _load(self, manifest: Manifest) -> LoadedModel:
        verify(manifest, self.trusted)
        check_runtime(manifest)
        return LoadedModel(
            manifest.name, manifest.version, manifest.fingerprint, logistic(), BinaryTask()
        )

    def write(self, key: str, value: bytes) -> None:
        self.producer.produce(self.topic, value, key)
        assert self.producer.flush(60) == 0

    def publish(self, version: int, value: bytes) -> None:
        self.write(version_key(version), value)
        self.write(CHAMPION_KEY, encode_alias(Alias(version)))

    def until(self, condition: Callable[[], Any]) -> None:
        deadline = time.monotonic() + 20 * PATIENCE
        while not condition():
            assert time.monotonic() < deadline, (self.follower.problem, self.failed)
            time.sleep(0.02)

    def until_rejected(self, expected: str) -> None:
        self.until(lambda: expected in str(self.follower.problem))

    def serves(self, version: int) -> bool:
        return self.follower.current is not None and self.follower.current.version == version


@pytest.fixture
def followed(broker: EmbeddedBroker, tmp_path: Path) -> Iterator[FollowedTopic]:
    found = FollowedTopic(broker, tmp_path)
    yield found
    assert found.failed == []
    assert found.follower.is_alive()


def test_a_follower_waits_for_the_first_trusted_key_and_ignores_unreadable_records(
    followed: FollowedTopic, tmp_path: Path
) -> None:
    follower = followed.follower
    unknown_signer = create_key(key_paths_in(tmp_path / "unknown_signer"))
    followed.publish(7, sign(MANIFEST._replace(version=7), unknown_signer).encode())
    followed.until(lambda: isinstance(follower.problem, NoTrustedKeyError))
    assert not follower.initialized.is_set()

    signer = Signer(followed.paths)
    good = signer.sign(MANIFEST)
    followed.publish(12, good.encode())
    followed.until(lambda: followed.serves(12))
    assert (follower.rejection, follower.initialized.is_set()) == (None, True)
    rejected = {
        13: (b"nonsense", "cannot be read"),
        14: (good._replace(metrics=[]).encode(), "cannot be read"),  # type: ignore[arg-type]
        15: (good.encode(), "names 12"),
        16: (MANIFEST._replace(version=16).encode(), "is not signed"),
    }
    for version, (value, expected) in rejected.items():
        followed.publish(version, value)
        followed.until_rejected(expected)
        assert (followed.serves(12), follower.rejection) == (True, "ModelError")
    followed.write(CHAMPION_KEY, b'{"version": "12"}')
    followed.until_rejected("alias record cannot be read")

    followed.publish(17, signer.sign(MANIFEST._replace(version=17)).encode())
    followed.until(lambda: followed.serves(17))
    assert follower.rejection is None


def test_at_the_start_the_nearest_loadable_ancestor_replaces_a_rejected_version(
    followed: FollowedTopic,
) -> None:
    here, signer = runtime(), Signer(followed.paths)
    ours = MANIFEST._replace(python=here.python, river=here.river)
    for version, parent in ((12, None), (13, 12)):
        followed.publish(
            version, signer.sign(ours._replace(version=version, parent=parent)).encode()
        )
    for version, parent in ((14, 13), (15, 14)):
        followed.publish(
            version, signer.sign(ours)._replace(version=version, parent=parent).encode()
        )
    followed.start()
    assert followed.follower.initialized.wait(20 * PATIENCE)
    assert (followed.serves(13), followed.follower.rejection) == (True, "ModelError")
    followed.publish(16, signer.sign(ours._replace(version=16, parent=15)).encode())
    followed.until(lambda: followed.serves(16))
    assert followed.follower.rejection is None


def test_a_version_of_another_runtime_is_not_replaced(followed: FollowedTopic) -> None:
    here, signer = runtime(), Signer(followed.paths)
    ours = MANIFEST._replace(python=here.python, river=here.river, parent=None)
    followed.publish(12, signer.sign(ours._replace(version=12)).encode())
    followed.publish(13, signer.sign(ours._replace(version=13, parent=12, river="0.1.0")).encode())
    followed.start()
    assert followed.follower.initialized.wait(20 * PATIENCE)
    with pytest.raises(IncompatibleModelError, match=r"river 0\.1\.0"):
        followed.follower.model()
