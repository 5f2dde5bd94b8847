"""Journal, suspicion, watch and child, each with real processes."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue

import pytest

from stream_app.declaration.pipeline_fingerprint import fingerprint
from stream_app.loading import load_pipeline
from stream_app.model_store.artifacts import pipeline_store
from stream_app.model_store.manifest import Manifest, runtime
from stream_app.model_store.pickling import dump
from stream_app.records import Record
from stream_app.resilience import Limits
from stream_app.settings import Settings
from stream_app.worker.quarantine.candidates import CandidateFile
from stream_app.worker.quarantine.journal import (
    CRASHED,
    GREW,
    HUNG,
    Journal,
    Working,
    beside,
    last_words,
)
from stream_app.worker.quarantine.quarantine import Quarantine
from stream_app.worker.quarantine.record_guards import RecordGuard
from stream_app.worker.quarantine.trial_runs import TrialCase, TrialRuns, Verdicts
from tests.small_pipeline import event, record
from tests.worker.poison import CODES, DECLARED, HOARD, LEAVE, SEGFAULT, SPIN, STOP

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
for one in slot.noting(1, [record(event(n), offset=n) for n in (70, 71, 72)]):
    if one.offset == 71:
        BODY
print("done", flush=True)
sys.stdin.readline()
"""


def records(*amounts: float) -> list[Record]:
    return [
        record(event(number, amount=amount), offset=number) for number, amount in enumerate(amounts)
    ]


def watched(folder: Path, body: str) -> tuple[int, list[Working], str]:
    """Run a worker that does `body` with its second record, under a watch; its exit code, last words and output."""
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
            "import sys, psutil; from pathlib import Path; from stream_app.worker.quarantine import journal, watch\n"
            "pid = int(sys.argv[1]); process = psutil.Process(pid)\n"
            "alive = lambda: process.is_running() and process.status() != 'zombie'\n"
            "print(flush=True)\n"
            "watch.watch(journal.Watched(Path(sys.argv[2])), pid, alive)\n"
        )
        command = [sys.executable, "-c", program, str(worker.pid), str(journal)]
        watch = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
        assert watch.stdout is not None
        assert watch.stdout.readline() == b"\n"  # it looks from now on
        worker.stdin.write("go\n")
        worker.stdin.flush()
        said = worker.stdout.readline()
        if said:
            worker.stdin.write("end\n")
            worker.stdin.flush()
        code = worker.wait(60)
        watch.communicate(timeout=60)
    return code, last_words(journal, worker.pid), said


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
def test_a_process_that_ends_leaves_word_of_its_record(
    tmp_path: Path, body: str, code: int, reason: int
) -> None:
    ended, words, _ = watched(tmp_path, body)
    assert (ended, [(w.input, w.partition, w.offset, w.reason) for w in words]) == (
        code,
        [(1, 3, 71, reason)],
    )


def test_a_record_that_waits_for_the_interpreter_is_not_to_blame(tmp_path: Path) -> None:
    body = "other = threading.Thread(target=ctypes.PyDLL(None).sleep, args=(3,)); other.start(); other.join()"
    assert watched(tmp_path, body) == (0, [], "done\n")


def test_a_suspect_is_remembered_with_its_deaths_until_it_has_its_outcome(tmp_path: Path) -> None:
    file = tmp_path / "suspects"
    for deaths in (1, 2):
        suspicion = CandidateFile(file, 60)
        suspicion.take([Working(0, 2, 17, 0, 0, HUNG)])
        found = suspicion.of(0, 2, 17)
        assert found is not None
        assert (found.deaths, found.reason, suspicion.general) == (deaths, HUNG, False)
    assert suspicion.of(1, 2, 17) is None
    suspicion.rise()
    suspicion.settle(0, 2, 17)
    assert suspicion.of(0, 2, 17) is not None
    suspicion.settle(0, 2, 18)
    again = CandidateFile(file, 60)
    assert (again.of(0, 2, 17), again.general, bool(again)) == (None, True, True)
    assert not CandidateFile(file, 0)


def test_a_file_of_suspects_that_is_damaged_is_as_none(tmp_path: Path) -> None:
    (tmp_path / "suspects").write_text('{"until": 1, "suspects": [[1, 2')
    assert not CandidateFile(tmp_path / "suspects", 60)


@pytest.fixture
def declared(tmp_path: Path) -> str:
    path = tmp_path / "declared.py"
    path.write_text(DECLARED.replace("NAME", "isolated"))
    return str(path)


@pytest.fixture
def serving(declared: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Manifest:
    """An untrained version in a store that the child finds."""
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
def tried(
    declared: str, serving: Manifest, tmp_path: Path
) -> Iterator[Callable[[list[Record]], Verdicts]]:
    trials = TrialRuns(declared, tmp_path / "score.a.b-trial", 1.5, lambda: serving, lambda: True)
    trials.start()

    def judged(tried: list[Record]) -> Verdicts:
        found: SimpleQueue[Verdicts] = SimpleQueue()
        trials.submit(TrialCase(tried, False, found.put))
        return found.get(timeout=60)

    yield judged
    trials.close()


def test_the_child_finds_exactly_the_guilty(tried: Callable[[list[Record]], Verdicts]) -> None:
    kinds = [0, SEGFAULT, LEAVE, 0, HOARD, SPIN, STOP, SEGFAULT, 0]
    verdicts = tried(records(*(-kind or 1.0 for kind in kinds)))
    assert [verdict and verdict.code for verdict in verdicts] == [CODES.get(kind) for kind in kinds]
    messages = [verdict.message for verdict in verdicts if verdict]
    assert messages[0] == "the process ended with SIGSEGV at declared.py:12 in segfault"
    assert messages[1] == "the process ended with exit code 4"
    assert messages[3].startswith("the record took longer than 1.5 s at declared.py:")


def test_ordinary_failures_are_no_matter_of_the_child(
    tried: Callable[[list[Record]], Verdicts],
) -> None:
    broken = Record("payments.raw", 0, 0, 0, b"k", b"{")
    assert tried([broken, broken._replace(offset=1, value=None)]) == [None, None]


def test_records_that_cannot_be_tried_are_processed(
    serving: Manifest, tried: Callable[[list[Record]], Verdicts], tmp_path: Path
) -> None:
    (tmp_path / "declared.py").write_text("1/0")
    assert tried(records(1.0, -SEGFAULT)) == [None, None]


@pytest.fixture
def guarded(
    declared: str, serving: Manifest, tmp_path: Path
) -> Iterator[Callable[[], tuple[Quarantine, RecordGuard]]]:
    """Makes the isolation of one worker after another."""
    made: list[Quarantine] = []

    def isolation() -> tuple[Quarantine, RecordGuard]:
        one = Quarantine(declared, tmp_path / "score-0", Limits(seconds=1.5), 60)
        one.serving = lambda: serving
        made.append(one)
        return one, RecordGuard(one, 0, ("payments.raw", "payments.labels"))

    yield isolation
    for one in made:
        one.close()


def refuse(error: BaseException) -> None:
    raise error


def until_ready(guard: RecordGuard, batch: list[Record]) -> int:
    """How many are ready once what is asked for has been answered."""
    deadline = time.monotonic() + 60
    while (number := guard.ready(batch)) < len(batch):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return number


def test_only_the_suspect_is_tried_and_after_a_conviction_everything(
    guarded: Callable[[], tuple[Quarantine, RecordGuard]], tmp_path: Path
) -> None:
    journal = Journal(beside(tmp_path / "score-0", "journal"), Limits())
    batch = records(1.0, 1.0, -SEGFAULT, 1.0)
    unfinished = journal.slot(0).noting(0, batch)
    for _ in range(3):
        next(unfinished)
    isolation, guard = guarded()
    isolation.start(refuse, tries=True)
    assert guard.ready(batch) == 2
    assert until_ready(guard, batch) == 4
    codes = [verdict and verdict.code for verdict in map(guard.verdict, batch)]
    assert codes == [None, None, "record-crashes", None]
    assert not guard.vigilant


def test_a_record_that_three_workers_died_of_is_convicted_whatever_the_child_says(
    guarded: Callable[[], tuple[Quarantine, RecordGuard]],
) -> None:
    batch = records(1.0)
    for _ in range(3):
        isolation, guard = guarded()
        for _ in guard.noting("payments.raw", batch):
            break
    isolation, guard = guarded()
    isolation.start(refuse, tries=True)
    assert until_ready(guard, batch) == 1
    verdict = guard.verdict(batch[0])
    assert verdict is not None
    assert verdict.code == "record-crashes"


def test_without_suspicion_nothing_is_tried(
    guarded: Callable[[], tuple[Quarantine, RecordGuard]],
) -> None:
    _, guard = guarded()
    assert guard.ready(records(-SEGFAULT)) == 1
    assert not guard.vigilant
    assert list(guard.noting("payments.raw", [])) == []


def test_a_journal_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "missing" / "worker.journal", Limits())
    assert journal.path is None
    assert [one.offset for one in journal.slot(5).noting(0, records(1.0, 1.0))] == [0, 1]
