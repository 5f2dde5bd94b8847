"""Registry of a pipeline's model versions, read from `<pipeline>.models`."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from stream_app.errors import ModelError
from stream_app.model_store.annotations import (
    LEARNING_KEY,
    Annotation,
    decode_annotation,
    pinned_version,
)
from stream_app.model_store.manifest import (
    CHAMPION_KEY,
    REQUESTED_KEY,
    Alias,
    Manifest,
    decode_alias,
    version_of,
    version_to_serve,
)
from stream_app.model_store.signing import verify
from stream_app.model_store.trusted_keys import TrustedKeys
from stream_app.telemetry.logs import get_logger

log = get_logger(__name__)


@dataclass(slots=True)
class ModelRegistry:
    """State of the registry at one moment.

    Attributes:
        versions: manifests by version, oldest first.
        champion: version that the learner serves.
        requested: version that the last rollback or promotion selected.
        pins: annotations of pinned versions.
        learning: annotation of the last pause or resumption of learning.
        unreadable: keys of damaged records, which are skipped.
    """

    versions: dict[int, Manifest] = field(default_factory=dict)
    champion: Alias | None = None
    requested: Alias | None = None
    pins: dict[int, Annotation] = field(default_factory=dict)
    learning: Annotation | None = None
    unreadable: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, records: Iterable[tuple[bytes | None, bytes | None]]) -> "ModelRegistry":
        """Return the registry after all records of the topic, given in their order."""
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
        """Version that scorers serve, or will serve as soon as they can load it."""
        return version_to_serve(self.champion, self.requested)

    @property
    def decision(self) -> int:
        """Number of rollbacks and promotions so far."""
        return max(
            (alias.decision for alias in (self.champion, self.requested) if alias is not None),
            default=0,
        )

    @property
    def paused(self) -> bool:
        """True while learning is paused."""
        return self.learning is not None and self.learning.active

    def manifest(self, version: int) -> Manifest:
        """Return the manifest of a version.

        Raises:
            ModelError: the version does not exist.
        """
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
        """Manifest of the served version.

        Raises:
            ModelError: no version is served.
        """
        if self.served is None:
            raise ModelError("No model version is served yet", "Start the learner, or promote one")
        return self.manifest(self.served)

    def ancestors(self, version: int) -> Iterator[Manifest]:
        """Yield the versions from which it was learned, nearest first.

        Ends at the first one whose manifest no longer exists.
        """
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
        """Return the registry without versions that no trusted key signed under their number."""
        return replace(
            self,
            versions={
                version: manifest
                for version, manifest in self.versions.items()
                if _is_signed(version, manifest, trusted)
            },
        )

    def _take(self, key: str, value: bytes) -> None:
        version, pinned = version_of(key), pinned_version(key)
        if version is not None:
            self.versions[version] = Manifest.decode(value)
        elif pinned is not None:
            self.pins[pinned] = decode_annotation(value)
        elif key == CHAMPION_KEY:
            self.champion = decode_alias(value)
        elif key == REQUESTED_KEY:
            self.requested = decode_alias(value)
        elif key == LEARNING_KEY:
            self.learning = decode_annotation(value)


def _is_signed(version: int, manifest: Manifest, trusted: TrustedKeys) -> bool:
    try:
        verify(manifest, trusted)
    except ModelError as error:
        log.warning("ignoring an unverified version", version=version, why=str(error))
        return False
    return manifest.version == version
