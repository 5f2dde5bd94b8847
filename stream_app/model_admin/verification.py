"""Whether a version is what the log says: learned again from the nearest earlier one, it must be the same."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

from stream_app.core.evaluation.prediction_tasks import task_of
from stream_app.core.example import Example
from stream_app.core.learning.examples_log import decode_example
from stream_app.core.learning.learner_state import LearnedModel
from stream_app.errors import ModelError
from stream_app.kafka.reader import TopicReader
from stream_app.model_admin.log_replay import BeyondError, LogReplay
from stream_app.model_admin.version_checks import Checker
from stream_app.model_admin.version_diff import first_difference
from stream_app.model_store.manifest import Manifest
from stream_app.model_store.model_loading import LoadedModel, to_learned_model
from stream_app.model_store.model_registry import ModelRegistry
from stream_app.pipeline import Pipeline
from stream_app.records import InputPartition
from stream_app.topic_kinds import topic_name

BEFORE, AFTER = 2_000, 20_000  # offsets around a version whose examples are scored again

Progress = Callable[[int, int], None]


class VerificationResult(NamedTuple):
    """What came of learning `version` again from `base` (None: from nothing), over so many `records` of the log.

    Both models scored the same `compared` examples, of which the version itself had served `served`; `unequal` of the
    scores were not the same, bit for bit. `difference` is the first place where the models differ, "learned" the
    number of examples; None if they do not.
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
        """Whether it is the same model in every respect."""
        return self.unequal == 0 and self.difference is None


class Verifier:
    """Verifies versions of one pipeline; `reader` reads its topics."""

    def __init__(
        self, pipeline: Pipeline, reader: TopicReader, registry: ModelRegistry, checker: Checker
    ) -> None:
        self._pipeline = pipeline
        self._task = task_of(pipeline)
        self._reader = reader
        self._registry = registry
        self._checker = checker
        self._examples = InputPartition(topic_name(pipeline.name, "examples"), 0)

    def verify(self, version: int, progress: Progress) -> VerificationResult:
        """Learn it again; `progress` gets the offset reached, and how many records were read.

        ModelError if it is none that was learned from the log, does not load, or nothing is left to learn it from.
        """
        manifest = self._registry.manifest(version)
        if manifest.origin != "learned":
            raise ModelError(
                f"Version {version} was trained outside, so the log does not tell how",
                "Train it again",
            )
        stored = self._checker.river_model(manifest)
        for base in self._bases(version):
            with suppress(BeyondError):  # then from an earlier one
                replay = self.replay(base)
                records = 0
                for offset in replay.advance(version):
                    records += 1
                    progress(offset + 1, records)
                return self._verdict(manifest, base, records, stored, replay)
        raise ModelError(
            f"The log of examples begins at {self._reader.ends(self._examples)[0]}, and no earlier version loads from "
            f"which version {version} could be learned again",
            "Restore the topic or the artifact store from a backup",
        )

    def replay(self, base: Manifest | None = None) -> LogReplay:
        """The log, to be learned from `base` on."""
        return LogReplay(
            self._pipeline, self._checker.fingerprint, self._reader, self._start_of, base
        )

    def _start_of(self, version: int) -> LearnedModel:
        manifest = self._registry.manifest(version)
        return to_learned_model(manifest, self._checker.river_model(manifest))

    def _verdict(
        self,
        manifest: Manifest,
        base: Manifest | None,
        records: int,
        stored: Any,
        replay: LogReplay,
    ) -> VerificationResult:
        state, version = replay.state, manifest.version
        difference = (
            "learned"
            if state.learned.examples != manifest.learned
            else first_difference(stored, state.learned.model)
        )
        facts = self._pipeline.name, version, manifest.fingerprint
        again, kept = (
            LoadedModel(*facts, state.learned.model, self._task),
            LoadedModel(*facts, stored, self._task, frozen=True),
        )
        compared = served = unequal = 0
        for example in self._examples_around(manifest):
            score = _score(again, example)
            same = score == _score(kept, example)
            if example.model_version == version:
                served += 1
                same = same and score == example.score
            compared += 1
            unequal += not same
        base_version = None if base is None else base.version
        return VerificationResult(
            version,
            base_version,
            records,
            state.learned.examples,
            compared,
            served,
            unequal,
            difference,
        )

    def _examples_around(self, manifest: Manifest) -> Iterator[Example]:
        """Those that it has learned last, and those after it, many of which it has served."""
        low, high = self._reader.ends(self._examples)
        start, end = max(low, manifest.version - BEFORE), min(high, manifest.version + AFTER)
        for record in self._reader.read_range(*self._examples, start, end) if start < end else ():
            example = decode_example(record.value, self._task)
            if isinstance(example, Example) and example.fingerprint == manifest.fingerprint:
                yield example

    def _bases(self, version: int) -> Iterator[Manifest | None]:
        """Earlier versions that load, the nearest first, then nothing, as far as the log reaches back."""
        low = self._reader.ends(self._examples)[0]
        for number, manifest in sorted(self._registry.versions.items(), reverse=True):
            if (
                low <= number < version
                and manifest.origin == "learned"
                and self._checker.problem(manifest) is None
            ):
                yield manifest
        if low == 0:
            yield None


def _score(model: LoadedModel, example: Example) -> object:
    """The score, or the name of what the model raises."""
    try:
        return model.score(example.features)
    except Exception as error:  # a model may raise anything, and has to raise the same again
        return type(error).__name__
