"""The model registry follows from its records; differences between versions are complete."""

from pathlib import Path

import orjson
from rich.console import Console

from stream_app.core.evaluation.thresholds import thresholds_as_dict
from stream_app.core.learning.learning_rules import Exclusion, LearningRules
from stream_app.model_admin.model_rendering import audit_lines, registry_object, version_lines
from stream_app.model_admin.version_diff import Shift, compare
from stream_app.model_store.annotations import (
    Annotation,
    ExclusionAnnotation,
    exclusion_annotation,
    learning_annotation,
    pin_annotation,
)
from stream_app.model_store.manifest import (
    CHAMPION_KEY,
    REQUESTED_KEY,
    Alias,
    Manifest,
    encode_alias,
    runtime,
    version_key,
)
from stream_app.model_store.model_registry import ModelRegistry
from stream_app.model_store.signing import Signer
from stream_app.pipeline import Threshold, Thresholds
from tests.model_store.keyrings import MANIFEST, key_paths_in

Change = tuple[bytes | None, bytes | None]
ANNOTATION = Annotation(True, "2026-01-01T00:00:00.000+00:00", "ann@host", "test")


def manifest(version: int, parent: int | None = None, **changes: object) -> Manifest:
    """Return a manifest with an artifact of its own."""
    fixed = Manifest(
        "p",
        version,
        parent,
        "2026-01-01",
        f"{version:064x}",
        10,
        "f",
        version,
        None,
        {},
        *runtime(),
    )
    return fixed._replace(**changes)  # type: ignore[arg-type]


def version(number: int, parent: int | None = None) -> Change:
    return version_key(number).encode(), manifest(number, parent).encode()


def alias(key: str, number: int, decision: int = 0) -> Change:
    return key.encode(), encode_alias(Alias(number, decision))


def test_the_newest_record_of_a_key_counts_and_a_tombstone_deletes_it() -> None:
    retired = (version_key(3).encode(), None)
    pin = pin_annotation(7, ANNOTATION)
    registry = ModelRegistry.of(
        [version(3), version(12, 7), version(7, 3), retired, alias(CHAMPION_KEY, 12), pin[2:4]]
    )
    assert list(registry.versions) == [7, 12]
    assert (registry.served, registry.decision, list(registry.pins)) == (12, 0, [7])
    assert ModelRegistry.of([pin[2:4], pin_annotation(7, None)[2:4]]).pins == {}
    assert ModelRegistry.of([]).served is None


def test_a_requested_version_is_served_until_the_learner_has_processed_the_decision() -> None:
    versions = [version(7), version(12, 7)]
    decided = ModelRegistry.of([*versions, alias(CHAMPION_KEY, 12, 1), alias(REQUESTED_KEY, 7, 2)])
    assert (decided.served, decided.decision) == (7, 2)
    processed = ModelRegistry.of(
        [*versions, alias(REQUESTED_KEY, 7, 2), alias(CHAMPION_KEY, 12, 2)]
    )
    assert (processed.served, processed.decision) == (12, 2)


def test_ancestors_end_at_the_first_missing_manifest() -> None:
    registry = ModelRegistry.of(
        [version(3), version(7, 3), version(12, 7), version(20, 7), version(30, 25)]
    )
    assert [one.version for one in registry.ancestors(20)] == [7, 3]
    assert [one.version for one in registry.ancestors(30)] == []


def test_a_damaged_record_is_skipped() -> None:
    registry = ModelRegistry.of(
        [version(3), (b"version/7", b"{"), (b"learning", b"[]"), (b"\xff", b"x"), (None, b"x")]
    )
    assert list(registry.versions) == [3]
    assert registry.unreadable == ["version/7", "learning"]


def test_learning_is_paused_until_it_is_resumed() -> None:
    paused, resumed = (
        learning_annotation(ANNOTATION)[2:4],
        learning_annotation(ANNOTATION._replace(active=False))[2:4],
    )
    assert ModelRegistry.of([paused]).paused
    assert not ModelRegistry.of([paused, resumed]).paused
    assert registry_object(ModelRegistry.of([paused]))["learning"]["why"] == "test"


def test_a_source_is_paused_until_it_is_resumed() -> None:
    paused = learning_annotation(ANNOTATION, "bank")[2:4]
    resumed = learning_annotation(ANNOTATION._replace(active=False), "bank")[2:4]
    assert ModelRegistry.of([paused]).rules.paused_sources == ("bank",)
    assert not ModelRegistry.of([paused]).paused
    assert ModelRegistry.of([paused, resumed]).rules.is_empty


def test_an_exclusion_is_in_force_until_it_is_withdrawn() -> None:
    exclusion = Exclusion(3, 1000, 2000, None, "2026-01-01", "ann@host", "test")
    made = exclusion_annotation(ExclusionAnnotation(exclusion))[2:4]
    withdrawn = exclusion_annotation(ExclusionAnnotation(exclusion, ANNOTATION))[2:4]
    assert ModelRegistry.of([made]).rules == LearningRules((), (exclusion,), 3)
    # Its number is not given again.
    assert ModelRegistry.of([made, withdrawn]).rules == LearningRules((), (), 3)
    assert ModelRegistry.of([withdrawn]).exclusions[3].withdrawn == ANNOTATION
    damaged = [(b"exclusion/4", b"{}"), (b"exclusion/5", b"[1]"), (b"exclusion/6", b"{")]
    assert len(ModelRegistry.of([made, *damaged]).unreadable) == 3


def test_a_manifest_has_the_rules_that_were_in_force() -> None:
    exclusion = Exclusion(3, 1000, 2000, "bank", "2026-01-01", "ann@host", "test")
    published = manifest(7)._replace(
        paused_sources={"shop": 5, "bank": 6}, exclusions=[exclusion._asdict()], last_exclusion=4
    )
    read = Manifest.decode(published.encode())
    assert read.rules == LearningRules(("bank", "shop"), (exclusion,), 4)
    assert manifest(8).rules.is_empty


def test_a_diff_has_changed_fields_and_all_metrics() -> None:
    profile = {
        "n": 10,
        "mean": 1.0,
        "deviation": 2.0,
        "minimum": 0.0,
        "maximum": 3.0,
        "deciles": [],
    }
    a = manifest(
        1,
        features=["x", "y"],
        parameters={"l2": "0.1"},
        metrics={"log_loss": 0.5},
        profile={"x": profile},
    )
    b = manifest(
        2,
        1,
        features=["y", "z"],
        parameters={"l2": "0.2", "seed": "1"},
        metrics={"log_loss": 0.5, "f1": 0.4},
        profile={"x": {**profile, "mean": 4.0}},
    )
    found = compare(a, b)
    assert set(found.fields) == {"parent", "sha256", "learned"}
    assert found.metrics == {"log_loss": (0.5, 0.5), "f1": (None, 0.4)}
    assert (found.features_added, found.features_removed) == (["z"], ["x"])
    assert found.parameters == {"l2": ("0.1", "0.2"), "seed": (None, "1")}
    assert found.profile == {"x": Shift(1.0, 4.0, 1.5)}
    assert orjson.loads(orjson.dumps(found.as_dict()))["profile"]["x"]["distance"] == 1.5


def test_each_audit_entry_is_one_line() -> None:
    letters = {
        "at": "2026",
        "operation": "park",
        "what": "group 5f0c",
        "who": "ann@host",
        "why": "ask\nthe shop",
    }
    models = {**letters, "operation": "rollback", "before": "version 12", "after": "version 7"}
    (first, second) = audit_lines([letters, models])
    assert "group 5f0c" in first
    assert "\n" not in first
    assert "version 12 -> version 7" in second


def test_unverified_versions_are_ignored(tmp_path: Path) -> None:
    signer = Signer(key_paths_in(tmp_path))
    genuine = signer.sign(MANIFEST)
    records = {12: genuine, 99: genuine, 100: MANIFEST._replace(version=100)}
    registry = ModelRegistry.of(
        (version_key(number).encode(), one.encode()) for number, one in records.items()
    )
    assert list(registry.versions) == [12, 99, 100]
    assert registry.signed_by(signer.trusted).versions == {12: genuine}


def test_a_version_lists_the_thresholds_of_its_publication() -> None:
    limits = thresholds_as_dict(
        Thresholds(metrics=(Threshold(metric="log_loss", limit=0.6, windows=5, action="rollback"),))
    )
    registry = ModelRegistry.of([(b"version/3", manifest(3, thresholds=limits).encode())])
    console = Console(width=120)
    with console.capture() as captured:
        console.print(version_lines(registry, registry.versions[3], "loads"))
    assert (
        "threshold-log_loss-rollback  0.6 in 5 windows with at least 100 labels" in captured.get()
    )
