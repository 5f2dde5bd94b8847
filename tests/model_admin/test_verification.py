"""Versions learned again from an in-memory log, with decisions in it; and logs that do not give what was published."""

from pathlib import Path

import pytest

from stream_app.core.evaluation.prediction_tasks import BinaryTask
from stream_app.core.example import Example
from stream_app.core.learning.examples_log import decode_example
from stream_app.declaration.pipeline_fingerprint import fingerprint
from stream_app.errors import ModelError
from stream_app.model_admin.verification import VerificationResult, Verifier
from stream_app.model_admin.version_checks import Checker
from stream_app.model_admin.version_diff import first_difference
from stream_app.model_store.artifacts import pipeline_store
from stream_app.model_store.model_registry import ModelRegistry
from tests.learning import Model, examples, logistic
from tests.small_pipeline import small_pipeline
from tests.worker.roles.test_control_handling import decide, offsets, version_of
from tests.worker.roles.test_learn_processor import MODELS, World

NONE = 10**9  # a version that there is not: these examples' scores are arbitrary


class Real(World):
    """A world whose pipeline could be loaded from a file, with five versions of fifty examples each."""

    def __init__(self, folder: Path, model: Model = logistic) -> None:
        super().__init__(
            folder / "elsewhere", small_pipeline("p", model=model), publish_seconds=1.0
        )
        self.fingerprint = fingerprint(self.declared)
        self.store = pipeline_store(self.settings, "p")
        self.stream = [
            one._replace(fingerprint=self.fingerprint, model_version=NONE) for one in examples(400)
        ]
        self.learn(0, 200)

    def learn(self, start: int, end: int) -> None:
        """What comes next in the log."""
        self.fill(self.stream[start:end])
        if start == 0:
            self.start()
            self.transaction(0)
        self.run()

    def verify(self, version: int) -> VerificationResult:
        """With readings of its own."""
        registry = ModelRegistry.of(self.log.read_all("p.models", 0))
        return Verifier(
            self.declared, self.log, registry, Checker(self.settings, self.declared)
        ).verify(version, lambda *_: None)


@pytest.mark.parametrize("model", MODELS)
def test_every_version_is_what_the_log_says_whatever_was_decided(
    tmp_path: Path, model: Model
) -> None:
    world = Real(tmp_path, model)
    decide(world, "rollback", version_of(world, 100), since=offsets(world)[120])
    world.learn(200, 260)
    decide(world, "pause", epoch=1)
    world.learn(260, 300)
    decide(world, "resume", epoch=1, since=offsets(world)[280])
    world.learn(300, 400)
    verdicts = [world.verify(version) for version in world.manifests()]
    assert [verdict for verdict in verdicts if not verdict.reproduced] == []
    assert verdicts[0].base is None
    assert [one.base for one in verdicts[1:]] == [one.version for one in verdicts[:-1]]
    assert all(verdict.compared for verdict in verdicts)


def test_it_goes_back_to_an_earlier_version_if_the_nearest_does_not_load(tmp_path: Path) -> None:
    world = Real(tmp_path)
    first, second, last = (version_of(world, count) for count in (100, 150, 200))
    Path(world.store.locate(world.manifests()[second].sha256)).unlink()
    verdict = world.verify(last)
    assert (verdict.base, verdict.reproduced) == (first, True)


def test_what_was_learned_again_from_before_the_nearest_version_needs_an_earlier_one(
    tmp_path: Path,
) -> None:
    world = Real(tmp_path)
    decide(world, "pause", epoch=0)
    world.learn(200, 250)
    decide(world, "resume", epoch=0)
    world.learn(250, 260)
    decide(world, "pause", epoch=0)
    decide(world, "resume", epoch=0, since=offsets(world)[10])
    world.learn(260, 300)
    verdicts = [world.verify(version) for version in world.manifests()]
    assert [verdict for verdict in verdicts if not verdict.reproduced] == []


def test_a_label_that_was_changed_in_the_log_shows(tmp_path: Path) -> None:
    world = Real(tmp_path)
    records = world.log.topics["p.examples/0"]
    changed = decode_example(records[170].value, BinaryTask())
    assert isinstance(changed, Example)
    records[170] = records[170]._replace(value=changed._replace(label=not changed.label).encode())
    verdict = world.verify(version_of(world, 200))
    assert not verdict.reproduced
    assert verdict.unequal == verdict.compared
    assert (verdict.difference or "").startswith("model['steps']")
    assert world.verify(version_of(world, 150)).reproduced


def test_a_score_that_the_version_did_not_make_shows(tmp_path: Path) -> None:
    world = Real(tmp_path)
    version = version_of(world, 200)
    served = world.stream[200]._replace(model_version=version, score=0.123)
    world.fill([served])
    verdict = world.verify(version)
    assert (verdict.served, verdict.unequal, verdict.difference) == (1, 1, None)


def test_a_log_that_no_longer_reaches_back_is_said_so(tmp_path: Path) -> None:
    world = Real(tmp_path)
    world.log.low["p.examples"] = 220
    with pytest.raises(ModelError, match="begins at 220, and no earlier version loads"):
        world.verify(version_of(world, 200))


def test_models_differ_where_one_number_does() -> None:
    stream = examples(50)
    one, other = logistic(), logistic()
    for example in stream:
        for model in (one, other):
            model.learn_one(example.features, example.label)
    assert first_difference(one, other) is None
    other.steps["LogisticRegression"].intercept += 1e-12
    assert first_difference(one, other) == "model['steps']['entries'][1][1]['intercept']"
