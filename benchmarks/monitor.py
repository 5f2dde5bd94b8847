"""CPU of the monitor with and without alarms, in turn: `python -m benchmarks.monitor`.

The records have ten features. Half of them get a label after an hour.
"""

import random
from collections.abc import Sequence
from dataclasses import replace
from statistics import median
from time import process_time
from typing import NamedTuple

import orjson

from benchmarks.simulated_labels import DAY_MS, START, example_of
from stream_app.compiled_core import core_state
from stream_app.core.alarms.label_feed import ServedLabel
from stream_app.core.alarms.stream_monitor import StreamMonitor
from stream_app.core.evaluation.prediction_tasks import task_of
from stream_app.core.examples import Example, decode_example
from stream_app.core.monitoring.log_alignment import STEP_MS
from stream_app.loading import load_pipeline
from stream_app.pipeline import Alarms, Pipeline

ROUNDS = 7
SEED = 4100
HOUR_MS = 3_600_000


class Step(NamedTuple):
    """Scored records and examples of a step of event time, as they are in their logs."""

    end: int
    scored: Sequence[bytes]
    examples: Sequence[bytes]


def logs(per_day: int, days: int) -> list[Step]:
    """Returns the logs of some days."""
    chance = random.Random(SEED)
    steps = []
    per_step = max(per_day * STEP_MS // DAY_MS, 1)
    for start in range(START, START + days * DAY_MS, STEP_MS):
        scored, examples = [], []
        for number in range(per_step):
            time, score = start + number * STEP_MS // per_step, chance.random()
            features = {f"x{feature}": chance.gauss(0.0, 1.0) for feature in range(10)}
            record = {
                "event_id": f"e{time}",
                "event_time": time,
                "model": {"name": "flights", "version": 1},
                "score": score,
                "degraded": None,
                "origin": None,
                "features": features,
            }
            scored.append(orjson.dumps(record))
            if number % 2:
                served = ServedLabel(time, time - HOUR_MS, 0, time, chance.random() < score, score)
                examples.append(example_of(served).encode())
        steps.append(Step(start + STEP_MS, scored, examples))
    return steps


def seconds(pipeline: Pipeline, steps: Sequence[Step]) -> float:
    """Returns the CPU seconds in which a monitor reads logs."""
    monitor, task, offset = StreamMonitor(pipeline), task_of(pipeline), 0
    started = process_time()
    for end, scored, examples in steps:
        for value in scored:
            monitor.scored(orjson.loads(value), None, end - STEP_MS)
        for value in examples:
            example = decode_example(value, task)
            assert isinstance(example, Example)
            monitor.example(example, offset)
            offset += 1
        monitor.pass_events(end)
        monitor.pass_clock(end)
    return process_time() - started


def main() -> None:
    """Prints CPU per record, and the ratio of records per second with alarms to those without."""
    print(f"core: {core_state()}")
    plain = replace(load_pipeline("flights"), alarms=None)
    for per_day, days in ((960, 100), (20_000, 20)):
        steps = logs(per_day, days)
        count = sum(len(one.scored) for one in steps)
        rounds = []
        for _ in range(ROUNDS):
            without = seconds(plain, steps)
            rounds.append((without, seconds(replace(plain, alarms=Alarms()), steps)))
        each = [median(values) / count * 1e6 for values in zip(*rounds, strict=True)]
        ratios = sorted(without / with_alarms for without, with_alarms in rounds)
        print(
            f"{per_day:,} records a day: {each[0]:.1f} µs without alarms, {each[1]:.1f} with; "
            f"records/s {median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}) of without"
        )


if __name__ == "__main__":
    main()
