"""Manifests, checkpoints and aliases survive encoding; only fitting versions are loaded."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from stream_app.core.evaluation.prediction_tasks import BinaryTask
from stream_app.errors import ModelError
from stream_app.model_store.artifacts import ArtifactStore
from stream_app.model_store.key_files import KeyPaths
from stream_app.model_store.manifest import (
    Alias,
    Checkpoint,
    Manifest,
    check_runtime,
    decode_alias,
    encode_alias,
    runtime,
    version_key,
    version_of,
)
from stream_app.model_store.model_loading import LoadedModel, load_version
from stream_app.model_store.pickling import dump
from stream_app.model_store.signing import Signer
from tests.learning import FINGERPRINT, fits, logistic, phishing, pipeline, scores_of


class ConstantModel:
    """Model with a constant answer."""

    def __init__(self, answer: dict[Any, float]) -> None:
        self.answer = answer

    def predict_proba_one(self, x: dict[str, float]) -> dict[Any, float]:
        return self.answer


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return Signer(KeyPaths("p", tmp_path / "signing.pem", tmp_path / "trusted", explicit=False))


def manifest_of(store: ArtifactStore, model: Any) -> Manifest:
    artifact = store.put(dump(model))
    return Manifest(
        name="p",
        version=7,
        parent=None,
        created_at="2026-01-01T00:00:00.000+00:00",
        sha256=artifact.sha256,
        size=artifact.size,
        fingerprint=FINGERPRINT,
        learned=5,
        learned_through=None,
        metrics={"accuracy": 0.5},
        **runtime()._asdict(),
    )


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(str(tmp_path))


def trained() -> Any:
    model = logistic()
    for x, y in phishing()[:300]:
        model.learn_one(x, y)
    return model


def test_a_manifest_survives_encoding_and_fits_the_published_schema(store: ArtifactStore) -> None:
    manifest = manifest_of(store, logistic())
    assert Manifest.decode(manifest.encode()) == manifest
    assert fits("manifest", orjson.loads(manifest.encode()))


def test_a_checkpoint_survives_encoding() -> None:
    checkpoint = Checkpoint(12, None, "ab", 3, FINGERPRINT, *runtime())
    assert Checkpoint.decode(checkpoint.encode()) == checkpoint


@pytest.mark.parametrize("value", [b"{}", b"[]", b"nonsense", b"7"])
def test_a_record_that_is_not_a_manifest_is_a_model_error(value: bytes) -> None:
    with pytest.raises(ModelError, match="manifest record cannot be read"):
        Manifest.decode(value)


def test_keys_and_aliases_survive_encoding() -> None:
    assert version_of(version_key(3)) == 3
    assert version_of("alias/champion") is None
    assert version_of("version/x") is None
    assert decode_alias(encode_alias(Alias(3, 2))) == Alias(3, 2)
    # Earlier releases wrote no decision number.
    assert decode_alias(b'{"version": 3}') == Alias(3, 0)


def test_a_version_of_another_runtime_is_an_error_that_says_what_to_install(
    store: ArtifactStore,
) -> None:
    manifest = manifest_of(store, logistic())
    for other, needed in (
        (manifest._replace(river="0.1"), "river==0.1"),
        (manifest._replace(python="2.7"), "Python 2.7"),
    ):
        with pytest.raises(ModelError) as caught:
            check_runtime(other)
        assert needed in caught.value.remedy


def test_a_loaded_version_scores_like_the_original_model(
    store: ArtifactStore, signer: Signer
) -> None:
    model = trained()
    loaded = load_version(
        store, signer.sign(manifest_of(store, model)), pipeline(), FINGERPRINT, signer.trusted
    )
    assert (loaded.name, loaded.version, loaded.fingerprint) == ("p", 7, FINGERPRINT)
    assert scores_of(loaded) == scores_of(LoadedModel("p", 7, FINGERPRINT, model, BinaryTask()))


def test_a_version_of_another_declaration_is_rejected_before_its_artifact_is_read(
    store: ArtifactStore, signer: Signer
) -> None:
    manifest = signer.sign(manifest_of(store, logistic())._replace(sha256="missing"))
    with pytest.raises(ModelError, match="has changed"):
        load_version(store, manifest, pipeline(), "f2", signer.trusted)


def test_a_version_without_its_artifact_is_an_error(store: ArtifactStore, signer: Signer) -> None:
    manifest = signer.sign(manifest_of(store, logistic())._replace(sha256="0" * 64))
    with pytest.raises(ModelError, match="is missing"):
        load_version(store, manifest, pipeline(), FINGERPRINT, signer.trusted)


def test_a_model_of_the_pipelines_own_module_is_loaded(
    store: ArtifactStore, signer: Signer
) -> None:
    declared = pipeline(features=trained)
    manifest = signer.sign(manifest_of(store, ConstantModel({True: 0.25})))
    loaded = load_version(store, manifest, declared, FINGERPRINT, signer.trusted)
    assert loaded.score({}) == 0.25


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        ({}, 0.5),
        ({False: 1.0}, 0.0),
        ({False: 0.75}, 0.25),
        ({True: 0.3, False: 0.7}, 0.3),
        ({True: 1.0}, 1.0),
        ({True: 1.0000000000000002}, 1.0),
        ({False: 1.0000000000000002}, 0.0),
        ({True: 1.5}, 1.5),
    ],
)
def test_the_score_is_the_probability_of_true(answer: dict[Any, float], score: float) -> None:
    assert LoadedModel("p", 0, FINGERPRINT, ConstantModel(answer), BinaryTask()).score({}) == score
