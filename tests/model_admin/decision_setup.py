"""A running pipeline with several model versions, for tests of decisions about them."""

import os
import time
from functools import partial
from pathlib import Path
from uuid import uuid4

from stream_app.broker import EmbeddedBroker
from stream_app.errors import StreamAppError
from stream_app.loading import load_pipeline
from stream_app.model_admin.decisions import VersionChange, change_version
from stream_app.model_admin.model_admin import ModelAdmin
from stream_app.model_admin.version_checks import VersionLoader
from stream_app.model_store.manifest import Manifest
from stream_app.model_store.model_registry import ModelRegistry, reason
from tests.running_system import System

BATCH = 40  # events, each with its label


class VersionedSystem(System):
    """System whose learner has published versions, with an admin client for decisions."""

    def __init__(self, broker: EmbeddedBroker, folder: Path) -> None:
        super().__init__(
            broker.bootstrap_servers, folder, f"models-{uuid4().hex[:8]}", partitions=2
        )
        self.now = int(time.time() * 1000) - 3_600_000
        self.admin = ModelAdmin(self.settings, self.name)
        self.loader = VersionLoader(self.settings, load_pipeline(str(self.pipeline)))

    def __enter__(self) -> "VersionedSystem":
        return self

    @property
    def registry(self) -> ModelRegistry:
        """The present registry."""
        return self.admin.registry(stable=True)

    def send_batch(self, count: int = BATCH) -> None:
        """Send events with their labels."""
        first = self.sent["labels"]
        for number in range(first, first + count):
            self.send_event(number, self.now + number)
            self.send_label(number, self.now + number + 500, fraud=number % 97 > 60)

    def learn(self, versions: int = 1) -> None:
        """Send events and labels until so many more versions are published."""
        for _ in range(versions):
            self.send_batch()
            self.await_outcomes()
            self.until(
                partial(self._is_published, self._newest_record()), 30, "not everything is learned"
            )

    def wait_until_applied(self) -> None:
        """Wait until the learner has processed the present log."""
        newest = self._newest_record()
        self.until(
            lambda: (self.admin.learned_to() or 0) > newest,
            30,
            "not every control record is applied",
        )

    def _is_published(self, offset: int) -> bool:
        return max(self.admin.registry().versions, default=0) > offset

    def _newest_record(self) -> int:
        return max(message.offset() or 0 for message in self.read("examples"))

    def serves(self, version: int, timeout: float = 20.0) -> float:
        """Return the seconds until this version scores an event that is sent from now on."""
        start = len(self.read("scored"))
        number = 10**6 + self.sent["raw"]

        def scored() -> bool:
            self.send_event(number + self.sent["raw"], self.now)
            self.producer.flush()
            return any(
                value["model"]["version"] == version for value in self.values("scored")[start:]
            )

        return self.until(scored, timeout, f"version {version} is not served")

    def change_version(
        self,
        command: VersionChange,
        to: Manifest,
        seen: ModelRegistry | None = None,
        **options: object,
    ) -> str:
        """Decide with another admin client; return "done", or the class name of the error."""
        try:
            change_version(
                ModelAdmin(self.settings, self.name),
                seen or self.registry,
                command,
                to,
                reason("test"),
                **options,  # type: ignore[arg-type]
            )
        except StreamAppError as error:
            return type(error).__name__
        return "done"

    def check_registry(self) -> ModelRegistry:
        """Assert that every alias names a version and every version loads; return the registry."""
        registry = self.registry
        assert registry.unreadable == []
        for alias in (registry.champion, registry.requested):
            assert alias is None or alias.version in registry.versions
        problems = {
            version: self.loader.problem(manifest)
            for version, manifest in registry.versions.items()
        }
        assert {version: problem for version, problem in problems.items() if problem} == {}
        return registry

    def store_garbage(self, count: int) -> None:
        """Store artifacts that nothing names, with a time two hours ago."""
        for number in range(count):
            artifact = self.loader.store.put(b"garbage %d" % number)
            file = Path(self.loader.store.locate(artifact.sha256))
            os.utime(file, (time.time() - 7200, time.time() - 7200))
