"""Digest of what the core makes of a long mixed stream: `python -m tests.core.mixed_stream`.

Events and labels with every kind of defect are scored, joined, learned and restored, in memory. The
digest covers every output, dead letters included, the state, and the pickle of the learner.
"""

import hashlib
import json
import pickle
import random
import sys
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from datetime import timedelta
from types import ModuleType

from benchmarks.digest import PIPELINE, Sent, stream
from stream_app.compiled_core import core_state
from stream_app.core.evaluation.prediction_tasks import task_of
from stream_app.core.examples import decode_example
from stream_app.core.learning.learner import Learner
from stream_app.core.scoring.partition_state import PartitionState
from stream_app.core.scoring.scorer import Scorer, ScorerConfig
from stream_app.model_store.model_loading import LoadedModel
from stream_app.pipeline import Pipeline
from stream_app.records import Output, Record

HOUR_MS = 3_600_000
# Wall-clock time of the run in Unix milliseconds, later than all events.
NOW = 1_800_000_000_000
CONFIG = ScorerConfig(
    fingerprint="mark", group="digest.score", app_version="0", max_bytes=2**20, max_entries=2_000
)


def declared() -> Pipeline:
    """Returns the pipeline of the digest of real workers, with passed fields."""
    module = ModuleType("digest_pipeline")
    sys.modules[module.__name__] = module
    exec(compile(PIPELINE, "/pipelines/digest.py", "exec"), vars(module))
    pipeline: Pipeline = module.pipeline
    return replace(pipeline, pass_through=("amount", "country"), metrics=("log_loss", "roc_auc"))


class Run:
    """One partition and its learner over the stream."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.digest = hashlib.sha256()
        self.task = task_of(pipeline)
        self.learner = Learner(pipeline, CONFIG.fingerprint)
        self.state = PartitionState(
            0, pipeline.label.horizon // timedelta(milliseconds=1), 6 * HOUR_MS
        )
        self.scorer = Scorer(pipeline, CONFIG, self.state, lambda: 0.0)
        self.offset = self.learned = 0
        self.outcomes = dict[str, int]()

    def play(self, stage: list[Sent]) -> None:
        """Processes a stage in batches, and learns its examples."""
        kind = stage[0][0] if stage else "raw"
        work = self.scorer.score if kind == "raw" else self.scorer.join
        for start in range(0, len(stage), 300):
            model = self.model()
            records = [self.record(one) for one in stage[start : start + 300]]
            outputs = work(records, model, NOW)
            outputs += self.scorer.retry(self.state.retries.due(NOW), model, NOW)
            outputs += self.state.final_records()
            self.write(outputs)

    def model(self) -> LoadedModel:
        """Returns a frozen copy of the learner's model."""
        learned = self.learner.state.learned
        return LoadedModel(
            "digest", learned.examples, "", deepcopy(learned.model), self.task, frozen=True
        )

    def record(self, sent: Sent) -> Record:
        """Returns the next record of the input."""
        kind, key, value, headers = sent
        self.offset += 1
        return Record(f"digest.{kind}", 0, self.offset, NOW, key, value, headers)

    def write(self, outputs: list[Output]) -> None:
        """Adds outputs to the digest, and learns the examples among them."""
        for output in outputs:
            self.outcomes[output.topic] = self.outcomes.get(output.topic, 0) + 1
            self.digest.update(repr(tuple(output)).encode())
            if output.topic == "examples":
                example = decode_example(output.value, self.task)
                assert not isinstance(example, str), example
                self.learned += 1
                for measured in self.learner.learn(self.learned, example):
                    self.digest.update(repr(tuple(measured)).encode())


def stages() -> Iterator[list[Sent]]:
    """Yields the stream, with values beside those of JSON that producers send."""
    rng = random.Random(11)
    for stage in stream():
        yield stage
        if stage and stage[0][0] == "raw":
            yield [
                ("raw", key, bytes(rng.randbytes(rng.randrange(1, 40))), headers)
                for _, key, _, headers in stage[:50]
            ]


def main() -> None:
    """Writes which core ran, the number of outputs by topic, and the digests, as JSON."""
    pipeline = declared()
    run = Run(pipeline)
    for stage in stages():
        run.play(stage)
    state = pickle.dumps(run.learner.state, protocol=5)
    restored = pickle.loads(state)
    found = {
        "core": core_state(),
        "outcomes": run.outcomes,
        "outputs": run.digest.hexdigest(),
        "pickle": hashlib.sha256(state).hexdigest(),
        "restored": restored.evaluator.watermark == run.learner.state.evaluator.watermark,
    }
    sys.stdout.write(f"{json.dumps(found)}\n")


if __name__ == "__main__":
    main()
