"""Journal, watchdog, candidates and trial runs, each with real processes."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue

import orjson
import pytest

from stream_app.declaration.pipeline_fingerprint import fingerprint
from stream_app.loading import load_pipeline
from stream_app.model_store.artifacts import pipeline_store
from stream_app.model_store.manifest import Manifest, runtime
from stream_app.model_store.pickling import dump
from stream_app.records import Record
from stream_app.resilience import Limits
from stream_app.settings import Settings
from stream_app.worker.quarantine.journal import (
    CRASHED,
    GREW,
    HUNG,
    CandidateFile,
    Journal,
    Working,
    unfinished_records,
    worker_file,
)
from stream_app.worker.quarantine.quarantine import Quarantine, RecordGuard
from stream_app.worker.quarantine.trial_runs import TrialCase, TrialResults, TrialRuns
from tests.patience import PATIENCE
from tests.small_pipeline import event, record
from tests.worker.poison import CODES, DECLARED, HOARD, LEAVE, SEGFAULT, SOURCES, SPIN, STOP

ROOT = Path(__file__).parents[3]
WORKER = """
import sys, time, threading, ctypes
from pathlib import Path
from stream_app.resilience import Limits
from stream_app.worker.quarantine.journal import Journal
from tests.small_pipeline import record, event

slot = Journal(Path(sys.argv[1]), Limits(seconds=1, memory_mb=64)).slot(3)
print("ready", flush=True)
sys.stdin.readline()
for one in slot.journaled(1, [record(event(n), offset=n) for n in (70, 71, 72)]):
    if one.offset == 71:
        BODY
print("done", flush=True)
sys.stdin.readline()
"""


def records(*amounts: float) -> list[Record]:
    return [
        record(event(number, amount=amount), offset=number) for number, amount in enumerate(amounts)
    ]


def run_watched(folder: Path, body: str) -> tuple[int, list[Working], str]:
    """Run a worker with a watchdog; the worker executes `body` for its second record.

    Returns:
        Exit code, unfinished records and output.
    """
    journal = folder / "worker.journal"
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER.replace("BODY", body), str(journal)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert worker.stdin is not None
    assert worker.stdout is not None
    with worker:
        assert worker.stdout.readline() == "ready\n"
        program = (
            "import sys, psutil; from pathlib import Path\n"
            "from stream_app.worker.quarantine import journal, watchdog\n"
            "pid = int(sys.argv[1]); process = psutil.Process(pid)\n"
            "alive = lambda: process.is_running() and process.status() != 'zombie'\n"
            "print(flush=True)\n"
            "watchdog.watch(journal.JournalReader(Path(sys.argv[2])), pid, alive)\n"
        )
        command = [sys.executable, "-c", program, str(worker.pid), str(journal)]
        watch = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
        assert watch.stdout is not None
        assert watch.stdout.readline() == b"\n"
        worker.stdin.write("go\n")
        worker.stdin.flush()
        output = worker.stdout.readline()
        if output:
            worker.stdin.write("end\n")
            worker.stdin.flush()
        code = worker.wait(60 * PATIENCE)
        watch.communicate(timeout=60 * PATIENCE)
    return code, unfinished_records(journal, worker.pid), output


@pytest.mark.parametrize(
    ("body", "code", "reason"),
    [
        ("ctypes.string_at(0)", -signal.SIGSEGV, CRASHED),
        ("import os; os._exit(0)", 0, CRASHED),
        ("while True: pass", -signal.SIGABRT, HUNG),
        ("ctypes.PyDLL(None).sleep(60)", -signal.SIGABRT, HUNG),
        ("time.sleep(0.3); kept = [b'x' * (1 << 27)]; time.sleep(60)", -signal.SIGABRT, GREW),
    ],
)
def test_the_journal_of_a_process_names_the_record_that_ended_it(
    tmp_path: Path, body: str, code: int, reason: int
) -> None:
    ended, unfinished, _ = run_watched(tmp_path, body)
    assert (ended, [(w.input, w.partition, w.offset, w.reason) for w in unfinished]) == (
        code,
        [(1, 3, 71, reason)],
    )


def test_a_record_that_waits_for_the_interpreter_lock_is_not_blamed(tmp_path: Path) -> None:
    body = (
        "other = threading.Thread(target=ctypes.PyDLL(None).sleep, args=(3,)); "
        "other.start(); other.join()"
    )
    assert run_watched(tmp_path, body) == (0, [], "done\n")


def test_a_candidate_is_kept_with_its_crashes_until_its_outcome_is_committed(
    tmp_path: Path,
) -> None:
    file = tmp_path / "candidates"
    for crashes in (1, 2):
        candidates = CandidateFile(file, 60)
        candidates.add([Working(0, 2, 17, 0, 0, HUNG)])
        found = candidates.get(0, 2, 17)
        assert found is not None
        assert (found.crashes, found.reason, candidates.includes_all) == (crashes, HUNG, False)
    assert candidates.get(1, 2, 17) is None
    candidates.include_all()
    candidates.remove_before(0, 2, 17)
    assert candidates.get(0, 2, 17) is not None
    candidates.remove_before(0, 2, 18)
    again = CandidateFile(file, 60)
    assert (again.get(0, 2, 17), again.includes_all, bool(again)) == (None, True, True)
    assert not CandidateFile(file, 0)


def test_a_damaged_file_of_candidates_counts_as_empty(tmp_path: Path) -> None:
    (tmp_path / "candidates").write_text('{"until": 1, "candidates": [[1, 2')
    assert not CandidateFile(tmp_path / "candidates", 60)


@pytest.fixture
def declared(tmp_path: Path) -> str:
    path = tmp_path / "declared.py"
    path.write_text(DECLARED.replace("NAME", "isolated"))
    return str(path)


@pytest.fixture
def serving(declared: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Manifest:
    """Manifest of an untrained version in a store that the trial process finds."""
    monkeypatch.setenv("STREAM_APP_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    pipeline = load_pipeline(declared)
    artifact = pipeline_store(Settings(data_dir=tmp_path), pipeline.name).put(
        dump(pipeline.model())
    )
    return Manifest(
        pipeline.name, 0, None, "", *artifact, fingerprint(pipeline), 0, None, {}, *runtime()
    )


@pytest.fixture
def run_trial(
    declared: str, serving: Manifest, tmp_path: Path
) -> Iterator[Callable[[list[Record]], TrialResults]]:
    trials = TrialRuns(declared, tmp_path / "score.a.b-trial", 1.5, lambda: serving, lambda: True)
    trials.start()

    def run(run_trial: list[Record]) -> TrialResults:
        found: SimpleQueue[TrialResults] = SimpleQueue()
        trials.submit(TrialCase(run_trial, "event", found.put))
        return found.get(timeout=60 * PATIENCE)

    yield run
    trials.close()


def test_trial_runs_find_exactly_the_poison_records(
    run_trial: Callable[[list[Record]], TrialResults],
) -> None:
    kinds = [0, SEGFAULT, LEAVE, 0, HOARD, SPIN, STOP, SEGFAULT, 0]
    results = run_trial(records(*(-kind or 1.0 for kind in kinds)))
    assert [result and result.code for result in results] == [CODES.get(kind) for kind in kinds]
    messages = [result.message for result in results if result]
    assert messages[0] == "the process ended with SIGSEGV at declared.py:12 in segfault"
    assert messages[1] == "the process ended with exit code 4"
    assert messages[3].startswith("the record took longer than 1.5 s at declared.py:")


def test_ordinary_failures_are_cleared(
    run_trial: Callable[[list[Record]], TrialResults],
) -> None:
    broken = Record("payments.raw", 0, 0, 0, b"k", b"{")
    assert run_trial([broken, broken._replace(offset=1, value=None)]) == [None, None]


def test_records_of_sources_are_read_as_ingest_does_without_a_model_or_a_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("STREAM_APP_STORE_URL", "file:///dev/null/no-folder")
    path = tmp_path / "declared.py"
    path.write_text(SOURCES.replace("NAME", "p"))
    trials = TrialRuns(str(path), tmp_path / "trial", 1.5, lambda: None, lambda: True)
    trials.start()
    found: SimpleQueue[TrialResults] = SimpleQueue()
    values = [{"poison": kind} for kind in (0, SEGFAULT, SPIN, 0)]
    sent = [
        Record("p.shop", 0, offset, 0, b"k", orjson.dumps(value), ())
        for offset, value in enumerate([*values, {}])
    ]
    try:
        trials.submit(TrialCase(sent, "source", found.put))
        results = found.get(timeout=60 * PATIENCE)
    finally:
        trials.close()
    codes = [None, "record-crashes", "record-hangs", None, None]
    assert [result and result.code for result in results] == codes


def test_records_are_cleared_if_trial_runs_are_impossible(
    serving: Manifest, run_trial: Callable[[list[Record]], TrialResults], tmp_path: Path
) -> None:
    (tmp_path / "declared.py").write_text("1/0")
    assert run_trial(records(1.0, -SEGFAULT)) == [None, None]


@pytest.fixture
def guarded(
    declared: str, serving: Manifest, tmp_path: Path
) -> Iterator[Callable[[], tuple[Quarantine, RecordGuard]]]:
    """Creates the quarantine and the guard of one worker after another."""
    made: list[Quarantine] = []

    def quarantine() -> tuple[Quarantine, RecordGuard]:
        one = Quarantine(declared, tmp_path / "score-0", Limits(seconds=1.5), 60)
        one.current_manifest = lambda: serving
        made.append(one)
        return one, RecordGuard(one, 0, {"payments.raw": "event", "payments.labels": "label"})

    yield quarantine
    for one in made:
        one.close()


def fail(error: BaseException) -> None:
    raise error


def until_ready(guard: RecordGuard, batch: list[Record]) -> int:
    """Wait until all records are ready; returns their number."""
    deadline = time.monotonic() + 60 * PATIENCE
    while (number := guard.ready(batch)) < len(batch):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return number


def test_only_the_candidate_gets_a_trial_run_and_after_poison_every_record(
    guarded: Callable[[], tuple[Quarantine, RecordGuard]], tmp_path: Path
) -> None:
    journal = Journal(worker_file(tmp_path / "score-0", "journal"), Limits())
    batch = records(1.0, 1.0, -SEGFAULT, 1.0)
    unfinished = journal.slot(0).journaled(0, batch)
    for _ in range(3):
        next(unfinished)
    quarantine, guard = guarded()
    quarantine.start(fail, with_trials=True)
    assert guard.ready(batch) == 2
    assert until_ready(guard, batch) == 4
    codes = [result and result.code for result in map(guard.take_result, batch)]
    assert codes == [None, None, "record-crashes", None]
    assert not guard.has_results


def test_a_record_that_ended_three_workers_is_poison_despite_a_clear_trial_run(
    guarded: Callable[[], tuple[Quarantine, RecordGuard]],
) -> None:
    batch = records(1.0)
    for _ in range(3):
        quarantine, guard = guarded()
        for _ in guard.journaled("payments.raw", batch):
            break
    quarantine, guard = guarded()
    quarantine.start(fail, with_trials=True)
    assert until_ready(guard, batch) == 1
    result = guard.take_result(batch[0])
    assert result is not None
    assert result.code == "record-crashes"


def test_without_candidates_there_are_no_trial_runs(
    guarded: Callable[[], tuple[Quarantine, RecordGuard]],
) -> None:
    _, guard = guarded()
    assert guard.ready(records(-SEGFAULT)) == 1
    assert not guard.has_results
    assert list(guard.journaled("payments.raw", [])) == []


def test_processing_continues_if_the_journal_cannot_be_written(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "missing" / "worker.journal", Limits())
    assert journal.path is None
    assert [one.offset for one in journal.slot(5).journaled(0, records(1.0, 1.0))] == [0, 1]
