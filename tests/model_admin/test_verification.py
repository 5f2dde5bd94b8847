"""Tests that versions are reproduced from an in-memory log, and that changed logs are detected."""

from pathlib import Path

import orjson
import pytest
from msgspec.structs import replace

from stream_app.core.evaluation.prediction_tasks import BinaryTask
from stream_app.core.examples import Example, decode_example
from stream_app.declaration.pipeline_fingerprint import fingerprint
from stream_app.errors import ModelError
from stream_app.model_admin.verification import VerificationResult, Verifier
from stream_app.model_admin.version_checks import VersionLoader
from stream_app.model_admin.version_diff import first_difference
from stream_app.model_store.artifacts import pipeline_store
from stream_app.model_store.model_registry import ModelRegistry
from tests.learning import Model, examples, fits, logistic
from tests.small_pipeline import small_pipeline
from tests.worker.roles.learner_driver import (
    MODELS,
    LearnerDriver,
    decide,
    offsets,
    version_of,
)

# A version that does not exist: the scores of these examples are arbitrary.
NONE = 10**9


class PublishedVersions(LearnerDriver):
    """Learner of a pipeline as loaded from a file, with five versions of fifty examples each."""

    def __init__(self, folder: Path, model: Model = logistic) -> None:
        super().__init__(
            folder / "elsewhere", small_pipeline("p", model=model), publish_seconds=1.0
        )
        self.fingerprint = fingerprint(self.declared)
        self.store = pipeline_store(self.settings, "p")
        self.stream = [
            replace(one, fingerprint=self.fingerprint, model_version=NONE) for one in examples(400)
        ]
        self.learn(0, 200)

    def learn(self, start: int, end: int) -> None:
        """Append a part of the stream to the log, and learn it."""
        self.fill(self.stream[start:end])
        if start == 0:
            self.start()
            self.transaction(0)
        self.run()

    def verify(self, version: int) -> VerificationResult:
        """Verify a version with a fresh registry and loader."""
        registry = ModelRegistry.of(self.log.read_all("p.models", 0))
        return Verifier(
            self.declared, self.log, registry, VersionLoader(self.settings, self.declared)
        ).verify(version, lambda *_: None)


@pytest.mark.parametrize("model", MODELS)
def test_every_version_is_reproduced_across_rollback_pause_and_resumption(
    tmp_path: Path, model: Model
) -> None:
    driver = PublishedVersions(tmp_path, model)
    decide(driver, "rollback", version_of(driver, 100), since=offsets(driver)[120])
    driver.learn(200, 260)
    decide(driver, "pause", decision=1)
    driver.learn(260, 300)
    decide(driver, "resume", decision=1, since=offsets(driver)[280])
    driver.learn(300, 400)
    results = [driver.verify(version) for version in driver.manifests()]
    assert [result for result in results if not result.reproduced] == []
    assert results[0].base is None
    assert [one.base for one in results[1:]] == [one.version for one in results[:-1]]
    assert all(result.compared for result in results)


def test_every_version_is_reproduced_across_paused_sources_and_exclusions(tmp_path: Path) -> None:
    driver = PublishedVersions(tmp_path)
    driver.stream = [
        replace(one, label_source=("bank", "shop")[number % 2])
        for number, one in enumerate(driver.stream)
    ]
    span = {"start": driver.stream[150].label_time, "end": driver.stream[330].label_time}
    decide(driver, "pause", decision=0, source="bank")
    driver.learn(200, 300)
    decide(driver, "exclude", decision=0, exclusion=1, source="shop", **span)
    # It relearns what the exclusion leaves of the examples before it.
    decide(driver, "rollback", version_of(driver, 100), since=offsets(driver)[100])
    driver.learn(300, 340)
    decide(driver, "resume", decision=1, source="bank", since=offsets(driver)[100])
    driver.learn(340, 380)
    decide(driver, "include", decision=1, exclusion=1)
    driver.learn(380, 400)
    state = driver.processor.state
    assert set(state.not_learned) == {"source-paused", "excluded"}
    assert state.control.rules.is_empty
    results = [driver.verify(version) for version in driver.manifests()]
    assert [result for result in results if not result.reproduced] == []
    assert any(one.exclusions and one.paused_sources for one in driver.manifests().values())
    assert all(
        fits("manifest", orjson.loads(manifest.encode()))
        for manifest in driver.manifests().values()
    )


def test_an_earlier_base_is_used_if_the_nearest_does_not_load(tmp_path: Path) -> None:
    driver = PublishedVersions(tmp_path)
    first, second, last = (version_of(driver, count) for count in (100, 150, 200))
    Path(driver.store.locate(driver.manifests()[second].sha256)).unlink()
    result = driver.verify(last)
    assert (result.base, result.reproduced) == (first, True)


def test_an_earlier_base_is_used_if_examples_before_the_nearest_were_relearned(
    tmp_path: Path,
) -> None:
    driver = PublishedVersions(tmp_path)
    decide(driver, "pause", decision=0)
    driver.learn(200, 250)
    decide(driver, "resume", decision=0)
    driver.learn(250, 260)
    decide(driver, "pause", decision=0)
    decide(driver, "resume", decision=0, since=offsets(driver)[10])
    driver.learn(260, 300)
    results = [driver.verify(version) for version in driver.manifests()]
    assert [result for result in results if not result.reproduced] == []


def test_a_changed_label_in_the_log_is_detected(tmp_path: Path) -> None:
    driver = PublishedVersions(tmp_path)
    records = driver.log.topics["p.examples/0"]
    changed = decode_example(records[170].value, BinaryTask())
    assert isinstance(changed, Example)
    records[170] = records[170]._replace(value=replace(changed, label=not changed.label).encode())
    result = driver.verify(version_of(driver, 200))
    assert not result.reproduced
    assert result.unequal == result.compared
    assert (result.difference or "").startswith("model['steps']")
    assert driver.verify(version_of(driver, 150)).reproduced


def test_a_served_score_that_the_version_does_not_give_is_detected(tmp_path: Path) -> None:
    driver = PublishedVersions(tmp_path)
    version = version_of(driver, 200)
    served = replace(driver.stream[200], model_version=version, score=0.123)
    driver.fill([served])
    result = driver.verify(version)
    assert (result.served, result.unequal, result.difference) == (1, 1, None)


def test_a_truncated_log_without_a_base_raises_a_model_error(tmp_path: Path) -> None:
    driver = PublishedVersions(tmp_path)
    driver.log.low["p.examples"] = 220
    with pytest.raises(ModelError, match="begins at 220, and no earlier version loads"):
        driver.verify(version_of(driver, 200))


def test_a_difference_in_the_last_bit_of_a_number_is_found() -> None:
    stream = examples(50)
    one, other = logistic(), logistic()
    for example in stream:
        for model in (one, other):
            model.learn_one(example.features, example.label)
    assert first_difference(one, other) is None
    other.steps["LogisticRegression"].intercept += 1e-12
    assert first_difference(one, other) == "model['steps']['entries'][1][1]['intercept']"
