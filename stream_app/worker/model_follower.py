"""Follower of `<p>.models`: reads the whole topic and serves the version that its aliases name."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from threading import Event, Thread
from time import monotonic, time
from typing import Any

from confluent_kafka import Message

from stream_app.errors import IncompatibleModelError, ModelError, StoreError
from stream_app.kafka.partition_reader import PartitionReader, unauthorized_read
from stream_app.model_store.manifest import (
    CHAMPION_KEY,
    REQUESTED_KEY,
    Alias,
    Manifest,
    decode_alias,
    version_key,
    version_of,
    version_to_serve,
)
from stream_app.model_store.model_loading import LoadedModel
from stream_app.model_store.trusted_keys import NoTrustedKeyError
from stream_app.telemetry.logs import get_logger
from stream_app.telemetry.metrics import MODEL_LOADED, MODEL_VERSION

log = get_logger(__name__)

POLL_SECONDS = 0.1
# Wait after a version that did not load.
RETRY_SECONDS = 2.0
# The topic is read again at this interval: librdkafka misses the start of a recreated topic.
REREAD_SECONDS = 30.0
# Ancestors that are tried in place of a version that is rejected at the start.
MAX_ANCESTORS = 100


class ModelFollower(Thread):
    """Thread that keeps `current` at the version that the aliases name.

    A version that does not load changes nothing. If it is rejected at the start, when nothing is
    served yet, its nearest ancestor that loads is served instead; but not if the version belongs to
    another declaration or runtime than this process, which the operator has to resolve. A record
    that cannot be read changes nothing either, and `problem` reports it while it lasts.

    Args:
        config: configuration of librdkafka.
        load: returns the model of a manifest, or raises ModelError.
        failed: called with the error when the thread cannot continue.
        keep_previous: True to keep the previous version loaded.

    Attributes:
        initialized: set once the topic was read to its end, and a version is loaded or rejected.
        current: version to serve, None before the first.
        previous: version that was served before it, at the start its parent.
        manifest: manifest of the current version.
        problem: reason why the version that the aliases name is not served, or None.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        topic: str,
        load: Callable[[Manifest], LoadedModel],
        failed: Callable[[BaseException], None],
        keep_previous: bool = False,
    ) -> None:
        super().__init__(name="models", daemon=True)
        self._keep_previous = keep_previous
        self._topic = topic
        self._load = load
        self._failed = failed
        self._config = config
        # Newest value of each key; the second replaces the first at the end of the log.
        self._records: dict[str, bytes] = {}
        self._reading: dict[str, bytes] = {}
        self.initialized = Event()
        self.current: LoadedModel | None = None
        self.previous: LoadedModel | None = None
        self.manifest: Manifest | None = None
        self.problem: ModelError | StoreError | None = None
        self._retry_at = 0.0

    def model(self) -> LoadedModel:
        """Return the current version.

        Raises:
            ModelError: no version is loaded.
            StoreError: the artifact store cannot be read.
        """
        if self.current is None:
            raise self.problem or ModelError(
                "no model version is loaded yet", "Wait until /readyz answers 200"
            )
        return self.current

    def version(self, version: int) -> LoadedModel:
        """Return a version, which need not be served. Thread-safe.

        Raises:
            ModelError: the version is unknown or does not load.
            StoreError: the artifact store cannot be read.
        """
        for loaded in (self.current, self.previous):
            if loaded is not None and loaded.version == version:
                return loaded
        return self._load(self._manifest(version))

    @property
    def rejection(self) -> str | None:
        """Name of the error for which the version that the aliases name is not served, or None."""
        return None if self.problem is None else type(self.problem).__name__

    def run(self) -> None:
        try:
            self._run()
        # The only place that catches a failure of this thread.
        except BaseException as error:
            self._failed(error)

    def _run(self) -> None:
        reader = PartitionReader(self._config, f"{self._topic}-follower", policy=unauthorized_read)
        reread_at = 0.0
        while True:
            if monotonic() > reread_at:
                self._reading, reread_at = {}, monotonic() + REREAD_SECONDS
                reader.assign({(self._topic, 0): 0})
            for message in reader.poll(POLL_SECONDS):
                self._take(message)
            if reader.at_end:
                self._records = self._reading
            if reader.at_end or (self.problem is not None and monotonic() > self._retry_at):
                self._follow()

    def _take(self, message: Message) -> None:
        key, value = (message.key() or b"").decode(errors="replace"), message.value()
        if value is None:
            self._reading.pop(key, None)
        elif key in (CHAMPION_KEY, REQUESTED_KEY) or version_of(key) is not None:
            self._reading[key] = value

    def _follow(self) -> None:
        """Load the version that the aliases name, unless it is served already."""
        version = None
        try:
            version = version_to_serve(self._alias(CHAMPION_KEY), self._alias(REQUESTED_KEY))
            if version is not None and (self.current is None or self.current.version != version):
                self._serve(version)
            self.problem = None
        except (ModelError, StoreError) as problem:
            self._record_problem(version, problem)
            if (
                self.current is None
                and version is not None
                and not isinstance(problem, StoreError | IncompatibleModelError)
            ):
                self._serve_ancestor(version)
        if self.current is not None or not isinstance(self.problem, NoTrustedKeyError | None):
            self.initialized.set()

    def _alias(self, key: str) -> Alias | None:
        value = self._records.get(key)
        return None if value is None else decode_alias(value)

    def _manifest(self, version: int) -> Manifest:
        value = self._records.get(version_key(version))
        if value is None:
            raise ModelError(
                f"{self._topic} has no version {version}",
                "Select one that `stream-app models list` shows",
            )
        manifest = Manifest.decode(value)
        if manifest.version != version:
            raise ModelError(
                f"the manifest of version {version} in {self._topic} names {manifest.version}",
                "The topic was modified by another program. Select another version",
            )
        return manifest

    def _record_problem(self, version: int | None, problem: ModelError | StoreError) -> None:
        """Log a problem once and schedule a retry: a store may recover."""
        if str(problem) != str(self.problem):
            log.error("version does not load", version=version, why=str(problem))
        self.problem = problem
        self._retry_at = monotonic() + RETRY_SECONDS

    def _serve(self, version: int) -> None:
        manifest = self._manifest(version)
        loaded = self._load(manifest)
        if self._keep_previous:
            self.previous = self.current or self._parent(manifest)
        self.current = loaded
        self.manifest = manifest
        MODEL_VERSION.set(version)
        MODEL_LOADED.set(time())

    def _serve_ancestor(self, version: int) -> None:
        """Serve the nearest ancestor that loads, if there is one."""
        # An ancestor whose manifest cannot be read ends the search.
        with suppress(ModelError, StoreError):
            for _ in range(MAX_ANCESTORS):
                parent = self._manifest(version).parent
                if parent is None or self._try_to_serve(parent):
                    return
                version = parent

    def _try_to_serve(self, version: int) -> bool:
        try:
            self._serve(version)
        except (ModelError, StoreError):
            return False
        log.warning("an older version is served", version=version)
        return True

    def _parent(self, manifest: Manifest) -> LoadedModel | None:
        try:
            return None if manifest.parent is None else self._load(self._manifest(manifest.parent))
        except (ModelError, StoreError) as problem:
            log.warning("parent does not load", version=manifest.parent, why=str(problem))
            return None
