"""The registry of a pipeline's model versions, from one reading of `<pipeline>.models`."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from stream_app.errors import ModelError
from stream_app.model_store.annotations import LEARNING_KEY, Annotation, decode_mark, pinned_version
from stream_app.model_store.manifest import (
    CHAMPION_KEY,
    ORDERED_KEY,
    Alias,
    Manifest,
    decode_alias,
    served,
    version_of,
)
from stream_app.model_store.signing import verify
from stream_app.model_store.trusted_keys import TrustedKeys
from stream_app.telemetry.logs import get_logger

log = get_logger(__name__)


@dataclass(slots=True)
class ModelRegistry:
    """The versions by number, oldest first, the aliases, the pins, and whether learning is held, as of one moment.

    `unreadable` are the keys whose records nobody can make sense of: one damaged record hides no other.
    """

    versions: dict[int, Manifest] = field(default_factory=dict)
    champion: Alias | None = None
    ordered: Alias | None = None
    pins: dict[int, Annotation] = field(default_factory=dict)
    learning: Annotation | None = None
    unreadable: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, records: Iterable[tuple[bytes | None, bytes | None]]) -> "ModelRegistry":
        """From the whole of the topic, in its order."""
        latest = {(key or b"").decode("utf-8", "replace"): value for key, value in records}
        registry = cls()
        for key, value in latest.items():
            if value is not None:
                try:
                    registry._take(key, value)
                except ModelError:
                    registry.unreadable.append(key)
        registry.versions = dict(sorted(registry.versions.items()))
        return registry

    @property
    def served(self) -> int | None:
        """The version that scorers serve, or will as soon as they can load it."""
        return served(self.champion, self.ordered)

    @property
    def epoch(self) -> int:
        """How many rollbacks and promotions there have been."""
        return max(
            (alias.epoch for alias in (self.champion, self.ordered) if alias is not None), default=0
        )

    @property
    def held(self) -> bool:
        """Whether learning is."""
        return self.learning is not None and self.learning.held

    def manifest(self, version: int) -> Manifest:
        """That of a version; ModelError if there is none."""
        found = self.versions.get(version)
        if found is None:
            known = (
                f"they go from {min(self.versions)} to {max(self.versions)}"
                if self.versions
                else "there is none yet"
            )
            raise ModelError(
                f"There is no model version {version}: {known}",
                "See `stream-app models list PIPELINE`",
            )
        return found

    @property
    def current(self) -> Manifest:
        """That of the served version; ModelError if none is served."""
        if self.served is None:
            raise ModelError("No model version is served yet", "Start the learner, or promote one")
        return self.manifest(self.served)

    def ancestors(self, version: int) -> Iterator[Manifest]:
        """Those that it was learned from, the nearest first, as far as their manifests are still there."""
        manifest = self.versions.get(version)
        while (
            manifest is not None
            and manifest.parent is not None
            and manifest.parent < manifest.version
        ):
            manifest = self.versions.get(manifest.parent)
            if manifest is not None:
                yield manifest

    def signed_by(self, trusted: TrustedKeys) -> "ModelRegistry":
        """Without versions that no trusted key has signed under this number: somebody else may have written them."""
        return replace(
            self, versions={n: one for n, one in self.versions.items() if _signed(n, one, trusted)}
        )

    def _take(self, key: str, value: bytes) -> None:
        version, pinned = version_of(key), pinned_version(key)
        if version is not None:
            self.versions[version] = Manifest.decode(value)
        elif pinned is not None:
            self.pins[pinned] = decode_mark(value)
        elif key == CHAMPION_KEY:
            self.champion = decode_alias(value)
        elif key == ORDERED_KEY:
            self.ordered = decode_alias(value)
        elif key == LEARNING_KEY:
            self.learning = decode_mark(value)


def _signed(version: int, manifest: Manifest, trusted: TrustedKeys) -> bool:
    try:
        verify(manifest, trusted)
    except ModelError as error:
        log.warning("a version is left out of account", version=version, why=str(error))
        return False
    return manifest.version == version
