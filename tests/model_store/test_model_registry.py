"""The registry from its records alone, and what differs between two versions."""

from pathlib import Path

import orjson
from rich.console import Console

from stream_app.core.evaluation.thresholds import as_map
from stream_app.model_admin.model_rendering import act_lines, registry_object, version_lines
from stream_app.model_admin.version_diff import Shift, compare
from stream_app.model_store.annotations import Annotation, learning_mark, pin_mark
from stream_app.model_store.manifest import (
    CHAMPION_KEY,
    ORDERED_KEY,
    Alias,
    Manifest,
    encode_alias,
    runtime,
    version_key,
)
from stream_app.model_store.model_registry import ModelRegistry
from stream_app.model_store.signing import Signer
from stream_app.pipeline import Threshold, Thresholds
from tests.model_store.keyrings import MANIFEST, places

Change = tuple[bytes | None, bytes | None]
MARK = Annotation(True, "2026-01-01T00:00:00.000+00:00", "ann@host", "test")


def manifest(version: int, parent: int | None = None, **changes: object) -> Manifest:
    """A version whose artifact is like no other's."""
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


def alias(key: str, number: int, epoch: int = 0) -> Change:
    return key.encode(), encode_alias(Alias(number, epoch))


def test_the_newest_record_of_a_key_counts_and_a_tombstone_deletes() -> None:
    retired = (version_key(3).encode(), None)
    mark = pin_mark(7, MARK)
    registry = ModelRegistry.of(
        [version(3), version(12, 7), version(7, 3), retired, alias(CHAMPION_KEY, 12), mark[2:4]]
    )
    assert list(registry.versions) == [7, 12]
    assert (registry.served, registry.epoch, list(registry.pins)) == (12, 0, [7])
    assert ModelRegistry.of([mark[2:4], pin_mark(7, None)[2:4]]).pins == {}
    assert ModelRegistry.of([]).served is None


def test_a_decision_counts_until_the_learner_has_processed_it() -> None:
    versions = [version(7), version(12, 7)]
    decided = ModelRegistry.of([*versions, alias(CHAMPION_KEY, 12, 1), alias(ORDERED_KEY, 7, 2)])
    assert (decided.served, decided.epoch) == (7, 2)
    processed = ModelRegistry.of([*versions, alias(ORDERED_KEY, 7, 2), alias(CHAMPION_KEY, 12, 2)])
    assert (processed.served, processed.epoch) == (12, 2)


def test_ancestors_follow_the_lineage_and_end_where_it_does() -> None:
    registry = ModelRegistry.of(
        [version(3), version(7, 3), version(12, 7), version(20, 7), version(30, 25)]
    )
    assert [one.version for one in registry.ancestors(20)] == [7, 3]
    assert [one.version for one in registry.ancestors(30)] == []


def test_a_damaged_record_hides_no_other() -> None:
    registry = ModelRegistry.of(
        [version(3), (b"version/7", b"{"), (b"learning", b"[]"), (b"\xff", b"x"), (None, b"x")]
    )
    assert list(registry.versions) == [3]
    assert registry.unreadable == ["version/7", "learning"]


def test_whether_learning_is_held() -> None:
    held, resumed = learning_mark(MARK)[2:4], learning_mark(MARK._replace(held=False))[2:4]
    assert ModelRegistry.of([held]).held
    assert not ModelRegistry.of([held, resumed]).held
    assert registry_object(ModelRegistry.of([held]))["learning"]["why"] == "test"


def test_a_difference_has_what_differs_and_all_metrics() -> None:
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


def test_acts_about_dead_letters_and_about_models_are_one_line_each() -> None:
    letters = {
        "at": "2026",
        "act": "park",
        "what": "group 5f0c",
        "who": "ann@host",
        "why": "ask\nthe shop",
    }
    models = {**letters, "act": "rollback", "before": "version 12", "after": "version 7"}
    (first, second) = act_lines([letters, models])
    assert "group 5f0c" in first
    assert "\n" not in first
    assert "version 12 -> version 7" in second


def test_what_nobody_trusted_has_signed_is_left_out_of_account(tmp_path: Path) -> None:
    signer = Signer(places(tmp_path))
    genuine = signer.signed(MANIFEST)
    records = {12: genuine, 99: genuine, 100: MANIFEST._replace(version=100)}
    registry = ModelRegistry.of(
        (version_key(number).encode(), one.encode()) for number, one in records.items()
    )
    assert list(registry.versions) == [12, 99, 100]
    assert registry.signed_by(signer.trusted).versions == {12: genuine}


def test_a_version_tells_the_thresholds_of_its_time() -> None:
    limits = as_map(
        Thresholds(metrics=(Threshold(metric="log_loss", limit=0.6, windows=5, action="rollback"),))
    )
    registry = ModelRegistry.of([(b"version/3", manifest(3, thresholds=limits).encode())])
    console = Console(width=120)
    with console.capture() as said:
        console.print(version_lines(registry, registry.versions[3], "loads"))
    assert "threshold-log_loss-rollback  0.6 in 5 windows with 100 labels at least" in said.get()
