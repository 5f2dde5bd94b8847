"""Verification of a version: relearned from the log, it must be equal bit for bit."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

from stream_app.core.evaluation.prediction_tasks import task_of
from stream_app.core.examples import Example, decode_example
from stream_app.core.learning.control_commands import Control, control_in
from stream_app.core.learning.learner import Learner, LoadVersion
from stream_app.core.learning.learner_state import LearnedModel, LearnerState
from stream_app.errors import ModelError
from stream_app.kafka.retrying_reader import TopicReader
from stream_app.model_admin.version_checks import VersionLoader
from stream_app.model_admin.version_diff import first_difference
from stream_app.model_store.manifest import Manifest
from stream_app.model_store.model_loading import LoadedModel, to_learned_model
from stream_app.model_store.model_registry import ModelRegistry
from stream_app.pipeline import Pipeline
from stream_app.records import InputPartition, Record
from stream_app.topic_kinds import topic_name
from stream_app.worker.roles.learner_recovery import SkippedOffsets

# Offsets before and after a version whose examples are scored with both models.
OFFSETS_BEFORE, OFFSETS_AFTER = 2_000, 20_000


class BaseTooLateError(Exception):
    """A decision relearns examples from before the base version of the relearning."""


class LogRelearner:
    """Relearns the log of examples as the learner did, with decisions and skipped offsets.

    Args:
        pipeline: declaration of the pipeline.
        fingerprint: fingerprint of the declaration.
        reader: reads the pipeline's topics.
        load_version: returns the model of a version that a decision selects.
        base: version to start from, None to start with an untrained model.

    Attributes:
        next: offset of the next record.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        fingerprint: str,
        reader: TopicReader,
        load_version: LoadVersion,
        base: Manifest | None = None,
    ) -> None:
        self._task = task_of(pipeline)
        self._learner = Learner(pipeline, fingerprint)
        self._source = InputPartition(topic_name(pipeline.name, "examples"), 0)
        self._reader = reader
        self._load = load_version
        self._skipped = SkippedOffsets(None)
        state_topic = topic_name(pipeline.name, "learn.state")
        self._skipped.restore(dict(reader.read_all(state_topic, 0)).items())
        self.next = self._first = 0 if base is None else base.version
        # Learning as a whole was not paused when the base was published.
        if base is not None:
            self.state.learned = load_version(base.version)
            self.state.control.decision = base.decision
            self.state.control.set_rules(base.rules)

    @property
    def state(self) -> LearnerState:
        """State of the learner after all records before `next`."""
        return self._learner.state

    def advance(self, end: int) -> Iterator[int]:
        """Learn up to an offset and yield the offset of each record.

        Raises what `load_version` raises, and `BaseTooLateError`.
        """
        for record in self._records(self.next, end):
            self._process(record)
            self.next = record.offset + 1
            yield record.offset
        self.next = end

    def _process(self, record: Record) -> None:
        if record.offset in self._skipped:
            return
        control = control_in(record.key, record.value)
        if control is not None:
            self._apply(record.offset, control)
            return
        example = decode_example(record.value, self._task)
        if isinstance(example, Example):
            self._learner.learn(record.offset, example)

    def _apply(self, offset: int, control: Control) -> None:
        self._check_base(control)
        for _ in self._learner.apply(offset, control, self._load, self._examples):
            pass

    def _check_base(self, control: Control) -> None:
        """Raise BaseTooLateError if a resumption relearns examples from before the base."""
        if control.command != "resume" or self.state.control.is_void(control):
            return
        if control.since is None:
            return
        paused_from = self.state.learned.paused_from.get(control.source or "", 0)
        if max(control.since, paused_from) < self._first:
            raise BaseTooLateError

    def _examples(self, first: int, end: int) -> Iterator[tuple[int, Example | None]]:
        return self._skipped.examples(self._records(first, end), self._task)

    def _records(self, start: int, end: int) -> Iterable[Record]:
        return self._reader.read_range(*self._source, start, end)


class VerificationResult(NamedTuple):
    """Result of relearning a version.

    Attributes:
        base: version from which it was relearned, None for an untrained model.
        records: number of records of the log that were read.
        learned: number of examples that the relearned model has learned.
        compared: number of examples that both models scored.
        served: number of examples among them that the version served.
        unequal: number of examples whose scores differ.
        difference: path of the first difference between the models, "learned" for the number of
            examples, None if they are equal.
    """

    version: int
    base: int | None
    records: int
    learned: int
    compared: int
    served: int
    unequal: int
    difference: str | None

    @property
    def reproduced(self) -> bool:
        """True if the models and all their scores are equal bit for bit."""
        return self.unequal == 0 and self.difference is None

    def summary(self) -> str:
        """Return the result in one sentence."""
        base = "an untrained model" if self.base is None else f"version {self.base}"
        done = f"Version {self.version}, relearned from {base} over {self.records:,} records, "
        scores = f"scores of {self.compared:,} examples ({self.served:,} as it served them)"
        if self.reproduced:
            return f"{done}is equal bit for bit: every number of the model, and its {scores}"
        path = "" if self.difference is None else f"the models differ in {self.difference}; "
        return f"{done}is NOT equal: {path}{self.unequal:,} of its {scores} differ"


class Verifier:
    """Verifies versions of one pipeline.

    Args:
        pipeline: declaration of the pipeline.
        reader: reads the pipeline's topics.
        registry: its versions.
        loader: loads versions.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        reader: TopicReader,
        registry: ModelRegistry,
        loader: VersionLoader,
    ) -> None:
        self._pipeline = pipeline
        self._task = task_of(pipeline)
        self._reader = reader
        self._registry = registry
        self._loader = loader
        self._examples = InputPartition(topic_name(pipeline.name, "examples"), 0)

    def verify(self, version: int, progress: Callable[[int, int], None]) -> VerificationResult:
        """Relearn a version from the nearest base and compare.

        Args:
            progress: called with the offset reached and the number of records read.

        Raises:
            ModelError: the version was trained offline, does not load, or the log and the earlier
                versions that it was learned from no longer exist.
        """
        manifest = self._registry.manifest(version)
        if manifest.origin != "learned":
            raise ModelError(
                f"Version {version} was trained offline, so the log does not contain its training",
                "Train it again",
            )
        stored = self._loader.river_model(manifest)
        for base in self._bases(version):
            # Then from an earlier base.
            with suppress(BaseTooLateError):
                relearner = self.relearner(base)
                records = 0
                for offset in relearner.advance(version):
                    records += 1
                    progress(offset + 1, records)
                return self._result(manifest, base, records, stored, relearner.state)
        raise ModelError(
            f"Version {version} cannot be relearned: the log of examples begins at "
            f"{self._reader.ends(self._examples)[0]}, and no earlier version loads",
            "Restore the topic or the artifact store from a backup",
        )

    def relearner(self, base: Manifest | None = None) -> LogRelearner:
        """Return a relearner that starts from a base version, or with an untrained model."""
        return LogRelearner(
            self._pipeline, self._loader.fingerprint, self._reader, self._load, base
        )

    def _load(self, version: int) -> LearnedModel:
        manifest = self._registry.manifest(version)
        return to_learned_model(manifest, self._loader.river_model(manifest))

    def _result(
        self,
        manifest: Manifest,
        base: Manifest | None,
        records: int,
        stored: Any,
        state: LearnerState,
    ) -> VerificationResult:
        version, learned = manifest.version, state.learned
        difference = (
            "learned"
            if learned.examples != manifest.learned
            else first_difference(stored, learned.model)
        )
        identity = self._pipeline.name, version, manifest.fingerprint
        relearned_model = LoadedModel(*identity, learned.model, self._task)
        stored_model = LoadedModel(*identity, stored, self._task, frozen=True)
        compared = served = unequal = 0
        for example in self._examples_around(manifest):
            score = _score(relearned_model, example)
            equal = score == _score(stored_model, example)
            if example.model_version == version:
                served += 1
                equal = equal and score == example.score
            compared += 1
            unequal += not equal
        return VerificationResult(
            version,
            None if base is None else base.version,
            records,
            learned.examples,
            compared,
            served,
            unequal,
            difference,
        )

    def _examples_around(self, manifest: Manifest) -> Iterator[Example]:
        """Yield the examples that the version learned last, and those after it."""
        low, high = self._reader.ends(self._examples)
        start = max(low, manifest.version - OFFSETS_BEFORE)
        end = min(high, manifest.version + OFFSETS_AFTER)
        for record in self._reader.read_range(*self._examples, start, end) if start < end else ():
            example = decode_example(record.value, self._task)
            if isinstance(example, Example) and example.fingerprint == manifest.fingerprint:
                yield example

    def _bases(self, version: int) -> Iterator[Manifest | None]:
        """Yield earlier versions that load, nearest first, then None if the log begins at 0."""
        low = self._reader.ends(self._examples)[0]
        for number, manifest in sorted(self._registry.versions.items(), reverse=True):
            if (
                low <= number < version
                and manifest.origin == "learned"
                and self._loader.problem(manifest) is None
            ):
                yield manifest
        if low == 0:
            yield None


def _score(model: LoadedModel, example: Example) -> object:
    """Return the score, or the name of the exception, which must be reproduced too."""
    try:
        return model.score(example.features)
    # A model may raise anything.
    except Exception as error:
        return type(error).__name__
