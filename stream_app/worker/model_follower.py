"""Following `<pipeline>.models`: every scorer reads it whole and serves what its aliases name."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from threading import Event, Thread
from time import monotonic, time
from typing import Any

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from stream_app.errors import ModelError, StoreError, UnfitModelError
from stream_app.kafka.access_errors import failure
from stream_app.model_store.manifest import (
    CHAMPION_KEY,
    ORDERED_KEY,
    Alias,
    Manifest,
    decode_alias,
    served,
    version_key,
    version_of,
)
from stream_app.model_store.model_loading import LoadedModel
from stream_app.model_store.trusted_keys import NoTrustedKeyError
from stream_app.telemetry.logs import get_logger
from stream_app.telemetry.metrics import MODEL_LOADED, MODEL_VERSION

log = get_logger(__name__)

POLL_SECONDS = 0.1
RETRY_SECONDS = 2.0  # after a version that did not load
REREAD_SECONDS = 30.0  # after which all is read again: of a topic that was made anew, librdkafka misses the beginning
MOST_ANCESTORS = 100  # of a version that is refused at the start, that are tried in its place


class ModelFollower(Thread):
    """Keeps `current` at the version that the aliases name; a version that does not load changes nothing.

    If it is refused at the start, when there is nothing to keep, the nearest of its ancestors that loads stands in for
    it; not where this process has another declaration or runtime than the version, which is a matter for a person.
    A record that cannot be read changes nothing either: then `problem` says so, for as long as it lasts.
    `config` is a librdkafka configuration; `load` makes a manifest into a model or raises ModelError; `failed` is
    called when the thread cannot go on. With `keep_before`, `before` is the version that was served before that one, or
    at the start the one that it was learned from.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        topic: str,
        load: Callable[[Manifest], LoadedModel],
        failed: Callable[[BaseException], None],
        keep_before: bool = False,
    ) -> None:
        super().__init__(name="models", daemon=True)
        self._keep_before = keep_before
        self.before: LoadedModel | None = None
        self._topic = topic
        self._load = load
        self._failed = failed
        self._config = {
            **config,
            "group.id": f"{topic}-follower",  # asked for by librdkafka; nothing is ever committed
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 50,
        }
        self._records: dict[str, bytes] = {}  # the newest of each key, manifests and aliases
        self._reading: dict[
            str, bytes
        ] = {}  # what is going to be that, once the log has been read to its end
        self.settled = Event()  # read to the end once, and loaded or found wanting
        self.current: LoadedModel | None = None
        self.manifest: Manifest | None = None  # of `current`
        self.problem: ModelError | StoreError | None = None
        self._again = 0.0

    def model(self) -> LoadedModel:
        """The version to serve now; only to be called after `settled` without a `problem`."""
        if self.current is None:
            raise self.problem or ModelError(
                "no model version is loaded yet", "Wait until /readyz answers 200"
            )
        return self.current

    def version(self, version: int) -> LoadedModel:
        """A version, served or not (any thread); ModelError or StoreError if it cannot be had."""
        for loaded in (self.current, self.before):
            if loaded is not None and loaded.version == version:
                return loaded
        return self._load(self._manifest(version))

    @property
    def refused(self) -> str | None:
        """What kind of failure keeps the version that the aliases name from being served."""
        return None if self.problem is None else type(self.problem).__name__

    def run(self) -> None:
        try:
            self._run()
        except BaseException as error:  # the one place where a failure of this thread is caught
            self._failed(error)

    def _run(self) -> None:
        consumer = Consumer(self._config)
        reread = 0.0
        while True:
            if monotonic() > reread:
                self._reading, reread = {}, monotonic() + REREAD_SECONDS
                consumer.assign([TopicPartition(self._topic, 0, 0)])
            message = consumer.poll(POLL_SECONDS)
            at_end = message is not None and self._take(message)
            if at_end or (self.problem is not None and monotonic() > self._again):
                self._follow()

    def _take(self, message: Message) -> bool:
        """Note one record; True when the log has been read to its end."""
        error = message.error()
        if error is not None:
            if error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
                raise failure(error, f"read {self._topic}")
            if error.code() != KafkaError._PARTITION_EOF:
                return False
            self._records = self._reading
            return True
        key, value = (message.key() or b"").decode(errors="replace"), message.value()
        if value is None:
            self._reading.pop(key, None)
        elif key in (CHAMPION_KEY, ORDERED_KEY) or version_of(key) is not None:
            self._reading[key] = value
        return False

    def _follow(self) -> None:
        """Load what the aliases name, if that is not what is served."""
        version = None
        try:
            version = served(self._alias(CHAMPION_KEY), self._alias(ORDERED_KEY))
            if version is not None and (self.current is None or self.current.version != version):
                self._serve(version)
            self.problem = None
        except (ModelError, StoreError) as problem:
            self._note(version, problem)
            if (
                self.current is None
                and version is not None
                and not isinstance(problem, StoreError | UnfitModelError)
            ):
                self._stand_in(version)
        if self.current is not None or not isinstance(self.problem, NoTrustedKeyError | None):
            self.settled.set()

    def _alias(self, key: str) -> Alias | None:
        value = self._records.get(key)
        return None if value is None else decode_alias(value)

    def _manifest(self, version: int) -> Manifest:
        value = self._records.get(version_key(version))
        if value is None:
            raise ModelError(
                f"{self._topic} has no version {version}", "Choose or roll back to one that it has"
            )
        manifest = Manifest.decode(value)
        if manifest.version != version:
            raise ModelError(
                f"the manifest of version {version} is that of {manifest.version}",
                "Who wrote it there?",
            )
        return manifest

    def _note(self, version: int | None, problem: ModelError | StoreError) -> None:
        """Say once what is wrong; try again before long, for a store may come back."""
        if str(problem) != str(self.problem):
            log.error("version does not load", version=version, why=str(problem))
        self.problem = problem
        self._again = monotonic() + RETRY_SECONDS

    def _serve(self, version: int) -> None:
        manifest = self._manifest(version)
        loaded = self._load(manifest)
        if self._keep_before:
            self.before = self.current or self._parent(manifest)
        self.current = loaded
        self.manifest = manifest
        MODEL_VERSION.set(version)
        MODEL_LOADED.set(time())

    def _stand_in(self, version: int) -> None:
        """Serve the nearest ancestor that loads, if there is one."""
        with suppress(ModelError, StoreError):  # of the way there
            for _ in range(MOST_ANCESTORS):
                parent = self._manifest(version).parent
                if parent is None or self._serves(parent):
                    return
                version = parent

    def _serves(self, version: int) -> bool:
        try:
            self._serve(version)
        except (ModelError, StoreError):
            return False
        log.warning("an older version stands in", version=version)
        return True

    def _parent(self, manifest: Manifest) -> LoadedModel | None:
        try:
            return None if manifest.parent is None else self._load(self._manifest(manifest.parent))
        except (ModelError, StoreError) as problem:
            log.warning(
                "the version before does not load", version=manifest.parent, why=str(problem)
            )
            return None
