"""Start of a worker, and memory of a worker with 200,000 predictions that wait for their label.

A scorer is started with a published version and empty topics, until its health server says that it
is ready. Then events are loaded at once, of which none is broken and none gets a label. Memory is
the resident memory after the last outcome.
"""

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from subprocess import Popen
from urllib.request import urlopen

from benchmarks.cluster import EndOffsets, flights, preload
from benchmarks.contenders import (
    BEFORE,
    RunConfig,
    Setup,
    publish_untrained,
    spawn,
    start_scorer,
    stop,
    topics,
    worker_command,
    worker_log,
)
from benchmarks.figures import Figures, ratios, spread
from benchmarks.observe import (
    FAILURES,
    check_running,
    largest_memory,
    sample_outcomes,
)
from benchmarks.report import Report, Table

PENDING = 200_000
# Pause after the last outcome, in which the last commit is completed.
SETTLE_SECONDS = 2.0
READY_SECONDS = 120.0
POLL_SECONDS = 0.02

START = "worker start to ready"
EMPTY = "memory of a worker when it is ready"
FULL = f"memory of a worker with {PENDING:,} pending predictions"
UNITS = {START: ("s", 2), EMPTY: ("MB", 0), FULL: ("MB", 0)}

Results = dict[str, dict[str, list[float]]]
"""Values of each round by contender and name."""


def measure(setup: Setup) -> Iterator[Report]:
    """Starts a worker of each build in each round; yields the results so far after each.

    A round in which one fails is skipped.
    """
    found: Results = {name: {key: [] for key in UNITS} for name in setup.ours}
    records = flights(PENDING, bad_every=0)
    for number in range(setup.rounds):
        where = f"round {number + 1} of {setup.rounds}"
        try:
            values = {name: run(setup.config(f"startup-{number}", name), records) for name in found}
        except FAILURES as error:
            setup.progress(f"{where}: skipped: {error}")
            continue
        for name, measured in values.items():
            for key, value in measured.items():
                found[name][key].append(value)
            setup.progress(f"{where}: {name}: {', '.join(_texts(measured))}")
        yield summary(found)


def _texts(measured: dict[str, float]) -> Iterator[str]:
    for key, value in measured.items():
        unit, digits = UNITS[key]
        yield f"{key} {value:.{digits}f} {unit}"


def run(config: RunConfig, records: list[tuple[bytes, bytes]]) -> dict[str, float]:
    """Returns the values of one worker."""
    with topics(config), worker_log(config, "startup") as log:
        learner = [*worker_command(config), "learn"]
        publish_untrained(config, spawn(learner, log, config.environment, config.tree))
        started = time.monotonic()
        scorer = start_scorer(config, log)
        try:
            await_ready(config, scorer)
            values = {START: time.monotonic() - started, EMPTY: largest_memory([scorer])}
            preload(config.servers, config.raw, records)
            ends = EndOffsets(config.servers, config.outputs)
            sample_outcomes(ends.now, len(records), [scorer])
            time.sleep(SETTLE_SECONDS)
            return {**values, FULL: largest_memory([scorer])}
        finally:
            stop([scorer])


def await_ready(config: RunConfig, process: Popen[bytes], worker: str = "score-0") -> None:
    """Waits until a worker says that it is ready."""
    deadline = time.monotonic() + READY_SECONDS
    while not is_ready(config, worker):
        check_running([process])
        if time.monotonic() > deadline:
            raise TimeoutError(f"{worker} is not ready after {READY_SECONDS:.0f} s")
        time.sleep(POLL_SECONDS)


def is_ready(config: RunConfig, worker: str) -> bool:
    """Returns True if the health server of a worker says that it is ready."""
    with suppress(OSError, ValueError, KeyError):
        run = json.loads(run_file(config, worker).read_text())
        with urlopen(f"http://{run['host']}:{run['port']}/readyz", timeout=1):
            return True
    return False


def run_file(config: RunConfig, worker: str) -> Path:
    """Returns the file in which a worker announces its process and its health server."""
    return config.folder / "data" / "run" / config.name / f"{worker}.json"


def summary(found: Results) -> Report:
    """Returns table and figures of the results."""
    figures: Figures = {
        key if name == "ours" else f"{key}, {name}": values
        for name, measured in found.items()
        for key, values in measured.items()
    }
    if BEFORE in found:
        for key in UNITS:
            figures[f"{key}, ours / {BEFORE}"] = ratios(found["ours"][key], found[BEFORE][key])
    rows = [
        (key, *(f"{spread(values[key]).text(digits)} {unit}" for values in found.values()))
        for key, (unit, digits) in UNITS.items()
    ]
    return Report([Table("Start and memory of a worker", ("", *found), rows)], figures)
