"""A pipeline with several versions, and the decisions that tests take about them."""

import os
import time
from functools import partial
from pathlib import Path
from uuid import uuid4

from stream_app.broker import EmbeddedBroker
from stream_app.errors import StreamAppError
from stream_app.loading import load_pipeline
from stream_app.model_admin.decisions import Switch, reason, switch
from stream_app.model_admin.model_admin import ModelAdmin
from stream_app.model_admin.version_checks import Checker
from stream_app.model_store.manifest import Manifest
from stream_app.model_store.model_registry import ModelRegistry
from tests.running_system import System

BATCH = 40  # events, each with its label


class Versioned(System):
    """A system whose learner has published versions, for `desk` to decide about."""

    def __init__(self, broker: EmbeddedBroker, folder: Path) -> None:
        super().__init__(
            broker.bootstrap_servers, folder, f"models-{uuid4().hex[:8]}", partitions=2
        )
        self.now = int(time.time() * 1000) - 3_600_000
        self.desk = ModelAdmin(self.settings, self.name)
        self.checker = Checker(self.settings, load_pipeline(str(self.pipeline)))

    def __enter__(self) -> "Versioned":
        return self

    @property
    def registry(self) -> ModelRegistry:
        """As it is now."""
        return self.desk.registry(settled=True)

    def send_batch(self, count: int = BATCH) -> None:
        """Events with their labels."""
        first = self.sent["labels"]
        for number in range(first, first + count):
            self.send_event(number, self.now + number)
            self.send_label(number, self.now + number + 500, fraud=number % 97 > 60)

    def learn(self, versions: int = 1) -> None:
        """Send events and labels until so many more versions have learned from them."""
        for _ in range(versions):
            self.send_batch()
            self.settle()
            self.until(
                partial(self._is_published, self._newest_record()), 30, "not everything is learned"
            )

    def obey(self) -> None:
        """Wait until the learner has processed all that is in the log now."""
        newest = self._newest_record()
        self.until(lambda: (self.desk.learned_to() or 0) > newest, 30, "not everything is obeyed")

    def _is_published(self, offset: int) -> bool:
        return max(self.desk.registry().versions, default=0) > offset

    def _newest_record(self) -> int:
        return max(message.offset() or 0 for message in self.read("examples"))

    def serves(self, version: int, timeout: float = 20.0) -> float:
        """Seconds until an event that is sent now or later is scored by this version."""
        marked = len(self.read("scored"))
        number = 10**6 + self.sent["raw"]

        def scored() -> bool:
            self.send_event(number + self.sent["raw"], self.now)
            self.producer.flush()
            return any(
                value["model"]["version"] == version for value in self.values("scored")[marked:]
            )

        return self.until(scored, timeout, f"version {version} is not served")

    def switch(
        self, act: Switch, to: Manifest, seen: ModelRegistry | None = None, **options: object
    ) -> str:
        """Decide with a desk of its own; "done", or the class of the error."""
        try:
            switch(
                ModelAdmin(self.settings, self.name),
                seen or self.registry,
                act,
                to,
                reason("test"),
                **options,  # type: ignore[arg-type]
            )
        except StreamAppError as error:
            return type(error).__name__
        return "done"

    def check_registry(self) -> ModelRegistry:
        """Every alias must name a version, and every version's artifact must be there, whole, and load."""
        registry = self.registry
        assert registry.unreadable == []
        for alias in (registry.champion, registry.ordered):
            assert alias is None or alias.version in registry.versions
        problems = {
            version: self.checker.problem(manifest)
            for version, manifest in registry.versions.items()
        }
        assert {version: problem for version, problem in problems.items() if problem} == {}
        return registry

    def garbage(self, count: int) -> None:
        """Artifacts that nothing names, stored two hours ago."""
        for number in range(count):
            artifact = self.checker.store.put(b"garbage %d" % number)
            file = Path(self.checker.store.locate(artifact.sha256))
            os.utime(file, (time.time() - 7200, time.time() - 7200))
