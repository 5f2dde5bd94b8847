"""Driver of a learner over an in-memory log, and what its tests read from the log."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
from river import forest, tree

from stream_app.core.evaluation.prediction_tasks import BinaryTask
from stream_app.core.examples import Example
from stream_app.core.learning.control_commands import CONTROL_KEY, Control, ControlCommand
from stream_app.model_store.artifacts import ArtifactStore
from stream_app.model_store.key_files import trusted_keys
from stream_app.model_store.manifest import Checkpoint, Manifest, decode_alias
from stream_app.model_store.model_loading import LoadedModel, load_version
from stream_app.model_store.model_registry import ModelRegistry
from stream_app.pipeline import Pipeline
from stream_app.records import InputPartition, Score
from stream_app.settings import LearnSettings, Settings
from stream_app.worker.roles.learn_processor import LearnProcessor
from tests.learning import FINGERPRINT, MemoryLog, fits, logistic, pipeline, scores_of, with_rates

SOURCE = InputPartition("p.examples", 0)
MODELS = [
    logistic,
    with_rates,
    lambda: tree.HoeffdingAdaptiveTreeClassifier(grace_period=30, seed=2),
    lambda: forest.ARFClassifier(n_models=2, seed=3),
]
AT = "2026-01-01T00:00:00Z"


class LearnerDriver:
    """Drives one learner at a time like a stream task, with a log and a store."""

    def __init__(
        self, folder: Path, declared: Pipeline, *, keep: int = 500, **limits: float
    ) -> None:
        self.log = MemoryLog()
        self.folder = folder
        self.store = ArtifactStore(str(folder))
        self.declared = declared
        values: dict[str, Any] = {
            "publish_examples": 50,
            "publish_seconds": 3600.0,
            "publish_share": 1.0,
        }
        values |= {"checkpoint_seconds": 2.0, "keep_versions": keep, **limits}
        self.settings = Settings(
            data_dir=folder.with_suffix(".data"), learn=LearnSettings(**values)
        )
        self.trusted = trusted_keys(self.settings, declared.name)
        self.committed = -1
        self.now = 1_700_000_000_000
        self.fingerprint = FINGERPRINT

    def fill(self, stream: list[Example]) -> None:
        self.log.topics.setdefault("p.examples/0", [])
        for i, one in enumerate(stream):
            # Transaction markers leave such gaps.
            self.log.append("p.examples", b"e", one.encode(), gap=i % 7 == 3)

    def start(self) -> None:
        self.processor = LearnProcessor(
            self.declared, self.fingerprint, self.settings, self.store, self.log
        )
        self.position = max(self.processor.restore({SOURCE: self.committed})[SOURCE], 0)

    def transaction(self, size: int, *, crash: bool = False) -> bool:
        """Process up to `size` records and commit unless it crashes first.

        Returns False at the end of the log.
        """
        self.now += 1000
        records = [
            record for record in self.log.topics["p.examples/0"] if record.offset >= self.position
        ][:size]
        learner = self.processor
        records = records[: learner.ready(records, self.now)]
        outputs = (
            learner.process(SOURCE, records, self.now)
            if records
            else learner.idle(self.now, at_end=True)
        )
        position = records[-1].offset + 1 if records else self.position
        outputs = outputs + self.processor.before_commit({SOURCE: position}, self.now)
        if not crash:
            self.log.write("p", outputs)
            self.position = self.committed = position
            self.processor.after_commit({})
        return bool(records) or self.position < self.log.ends(SOURCE)[1]

    def run(self, size: int = 50) -> None:
        while self.transaction(size):
            pass

    def models(self) -> dict[bytes | None, bytes | None]:
        return dict(self.log.read_all("p.models", 0))

    def manifests(self) -> dict[int, Manifest]:
        return ModelRegistry.of(self.models().items()).versions

    def champion(self) -> int:
        value = self.models()[b"alias/champion"]
        assert value is not None
        return decode_alias(value).version

    def predictions(self, version: int) -> list[Score]:
        return scores_of(
            load_version(
                self.store, self.manifests()[version], self.declared, self.fingerprint, self.trusted
            )
        )

    def checkpoint(self) -> Checkpoint:
        value = dict(self.log.read_all("p.learn.state", 0))[b"checkpoint"]
        assert value is not None
        return Checkpoint.decode(value)


def reports(driver: LearnerDriver) -> list[bytes | None]:
    return [value for _, value in driver.log.read_all("p.monitoring", 0)]


def measurements_of(driver: LearnerDriver) -> list[dict[str, Any]]:
    return [orjson.loads(value or b"") for value in reports(driver)]


def alarms(driver: LearnerDriver) -> list[tuple[str, bool]]:
    """Return name and state of every reported alarm: True while it is open."""
    reported = [orjson.loads(value or b"") for _, value in driver.log.read_all("p.monitoring", 0)]
    return [(one["name"], one["breached"]) for one in reported if one["kind"] == "alarm"]


def registry(driver: LearnerDriver) -> ModelRegistry:
    return ModelRegistry.of(driver.log.read_all("p.models", 0))


def audit_entries(driver: LearnerDriver) -> list[dict[str, Any]]:
    found = [orjson.loads(value or b"") for _, value in driver.log.read_all("p.audit", 0)]
    assert all(fits("audit", entry) for entry in found)
    return found


def version_of(driver: LearnerDriver, examples_learned: int) -> int:
    """Return the version that has learned this number of examples."""
    return next(
        one.version for one in driver.manifests().values() if one.learned == examples_learned
    )


def offsets(driver: LearnerDriver) -> list[int]:
    """Return the offsets of all examples in the log."""
    return [
        record.offset for record in driver.log.topics["p.examples/0"] if record.key != CONTROL_KEY
    ]


def scores_of_state(driver: LearnerDriver) -> list[Score]:
    return scores_of(
        LoadedModel("p", 0, FINGERPRINT, driver.processor.state.learned.model, BinaryTask())
    )


def offline(stream: Sequence[Example]) -> list[Score]:
    """Return the scores of a model that has learned only these examples."""
    model = pipeline().model()
    for one in stream:
        model.learn_one(one.features, one.label)
    return scores_of(LoadedModel("p", 0, FINGERPRINT, model, BinaryTask()))


def decide(
    driver: LearnerDriver,
    command: ControlCommand,
    version: int | None = None,
    *,
    decision: int = 1,
    since: int | None = None,
    **more: Any,
) -> int:
    """Write a control record into the log; returns its offset.

    Args:
        more: further attributes of the control record.
    """
    control = Control(command, version, decision, AT, "ann@here", "test", since)._replace(**more)
    return driver.log.append("p.examples", CONTROL_KEY, control.encode(), gap=1)


def remove_store(folder: Path) -> None:
    """Replace the store's folder by a file, which looks like a lost mount to root too."""
    folder.rename(folder.with_suffix(".away"))
    folder.write_text("")


def restore_store(folder: Path) -> None:
    folder.unlink()
    folder.with_suffix(".away").rename(folder)
