"""Registry of a pipeline's model versions, read from `<pipeline>.models`.

Pins, pauses of learning and exclusions are annotations there, which anybody can read. The learner
itself follows the control records in `<pipeline>.examples`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from stream_app.clock import now_ms
from stream_app.core.learning.control_commands import Control
from stream_app.core.learning.learning_rules import LearningRules
from stream_app.core.monitoring.audit_entry import AuditEntry, ModelOperation
from stream_app.errors import ModelError
from stream_app.formatting import iso_time
from stream_app.model_store.annotations import (
    LEARNING_KEY,
    Annotation,
    ExclusionAnnotation,
    decode_annotation,
    decode_exclusion,
    is_exclusion,
    learning_annotation,
    paused_source,
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
from stream_app.records import Output
from stream_app.telemetry.logs import get_logger, operator

log = get_logger(__name__)


class Reason(NamedTuple):
    """Author, time (Unix milliseconds) and reason of a decision."""

    who: str
    at: int
    why: str

    def annotation(self, *, active: bool = True) -> Annotation:
        """Return the annotation of the decision in the registry."""
        return Annotation(active, iso_time(self.at), self.who, self.why)


def reason(why: str) -> Reason:
    """Return the reason of a decision that this user makes now."""
    return Reason(operator(), now_ms(), why)


def version_change_audit(name: str, control: Control, at: int, before: int | None) -> Output:
    """Return the audit entry of a rollback or promotion.

    Args:
        name: name of the pipeline.
        control: the decision.
        at: Unix milliseconds.
        before: version served before, None if there was none.
    """
    return decision_audit(
        name,
        control,
        at,
        f"version {control.version}",
        before=_version_text(before),
        after=_version_text(control.version),
        identity=f"{control.command}-{control.decision}",
    )


def learning_records(name: str, control: Control, at: int) -> list[Output]:
    """Return the annotation and the audit entry of a pause or resumption of learning."""
    is_pause = control.command == "pause"
    annotation = Annotation(is_pause, control.at, control.who, control.why)
    of = "" if control.source is None else f" from {control.source}"
    states = (f"learning{of}", f"paused{of}")
    before, after = states if is_pause else states[::-1]
    return [
        learning_annotation(annotation, control.source),
        decision_audit(
            name,
            control,
            at,
            f"learning{of}",
            before=before,
            after=after,
            identity="" if control.source is None else f"{control.command}-{control.source}-{at}",
        ),
    ]


def decision_audit(
    name: str,
    control: Control,
    at: int,
    subject: str,
    *,
    before: str | None = None,
    after: str | None = None,
    identity: str = "",
) -> Output:
    """Return the audit entry of a decision.

    Args:
        name: name of the pipeline.
        control: the decision.
        at: Unix milliseconds.
        subject: version or state that the decision changed.
        before: its state before, if it has one.
        after: its state after.
        identity: distinguishes two entries of the same kind and time.
    """
    operation: ModelOperation = "train" if control.command == "trained" else control.command
    return AuditEntry(
        operation,
        at=at,
        who=control.who,
        what=subject,
        why=control.why,
        before=before,
        after=after,
        identity=identity,
        options={} if control.since is None else {"since": str(control.since)},
    ).output(name)


def _version_text(version: int | None) -> str:
    return "none" if version is None else f"version {version}"


@dataclass(slots=True)
class ModelRegistry:
    """State of the registry at one moment.

    Attributes:
        versions: manifests by version, oldest first.
        champion: version that the learner serves.
        requested: version that the last rollback or promotion selected.
        pins: annotations of pinned versions.
        learning: annotation of the last pause or resumption of learning as a whole.
        source_learning: that of each source of labels that was ever paused, by its name.
        exclusions: exclusions that there ever were, by number.
        unreadable: keys of damaged records, which are skipped.
    """

    versions: dict[int, Manifest] = field(default_factory=dict)
    champion: Alias | None = None
    requested: Alias | None = None
    pins: dict[int, Annotation] = field(default_factory=dict)
    learning: Annotation | None = None
    source_learning: dict[str, Annotation] = field(default_factory=dict)
    exclusions: dict[int, ExclusionAnnotation] = field(default_factory=dict)
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
        """True while learning as a whole is paused."""
        return self.learning is not None and self.learning.active

    @property
    def rules(self) -> LearningRules:
        """Pauses of sources and exclusions in force."""
        sources = [name for name, one in self.source_learning.items() if one.active]
        found = [one.exclusion for one in self.exclusions.values() if one.withdrawn is None]
        return LearningRules(
            tuple(sorted(sources)), tuple(sorted(found)), max(self.exclusions, default=0)
        )

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
        version, pinned, source = version_of(key), pinned_version(key), paused_source(key)
        if version is not None:
            self.versions[version] = Manifest.decode(value)
        elif pinned is not None:
            self.pins[pinned] = decode_annotation(value)
        elif source is not None:
            self.source_learning[source] = decode_annotation(value)
        elif is_exclusion(key):
            found = decode_exclusion(value)
            self.exclusions[found.exclusion.number] = found
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
