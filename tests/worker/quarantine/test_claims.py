"""A poison record is isolated without the journal: each restart empties the workers' folder."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from stream_app.broker import EmbeddedBroker
from stream_app.kafka.retrying_reader import RetryingReader
from stream_app.records import InputPartition, Record
from stream_app.resilience import Limits
from stream_app.worker.quarantine.claims import (
    OPEN,
    SINGLE_RECORDS,
    Claim,
    ClaimJournal,
    decode_claim,
)
from stream_app.worker.quarantine.quarantine import MAX_CRASHES, Quarantine
from tests.patience import PATIENCE
from tests.running_system import System
from tests.small_pipeline import HOUR
from tests.worker.poison import DECLARED, SEGFAULT, SPIN, EventBatches, Restarting, messages
from tests.worker.quarantine.test_quarantine_supervised import DECLARED_LEARNER

SOURCE = InputPartition("p.raw", 3)
# Crashes in a worker only, so that a trial run cannot find it.
DECLARED_UNTRIABLE = DECLARED.replace(
    "def segfault(): ctypes.string_at(0)",
    "import sys\n"
    "def segfault():\n"
    "    if not any('trial_process' in word for word in sys.orig_argv): ctypes.string_at(0)",
)


class EmptiedRestarting(Restarting):
    """Restarts a worker with an empty run folder, as a container on a temporary file system."""

    def restart(self, role: str, instance: str) -> None:
        folder = self._system.settings.data_dir / "run" / self._system.name
        for file in folder.glob(f"{role}-{instance}*"):
            if file.is_file():
                file.unlink()
        super().restart(role, instance)


@contextmanager
def emptied(
    broker: EmbeddedBroker, folder: Path, declared: str, partitions: int = 2
) -> Iterator[tuple[System, EmptiedRestarting, EventBatches]]:
    """Run a learner, and a scorer that loses its run folder whenever it ends."""
    name = f"poison-{uuid4().hex[:8]}"
    with System(broker.bootstrap_servers, folder, name, declared, partitions=partitions) as system:
        system.start_all()
        with EmptiedRestarting(system) as restarting:
            batches = EventBatches(system)
            batches.send([], good=50)
            yield system, restarting, batches
            system.check_outcomes()


def test_a_poison_record_becomes_one_dead_letter(broker: EmbeddedBroker, tmp_path: Path) -> None:
    with emptied(broker, tmp_path, DECLARED) as (system, restarting, batches):
        batches.send([SEGFAULT], good=200)
        system.await_outcomes(120)
        assert [code for code, _ in messages(system)] == ["record-crashes"]
        # The first one had no claim, the second one made it.
        assert len(restarting.exit_codes) == 2


def test_a_worker_that_is_killed_while_idle_blames_no_record(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    with emptied(broker, tmp_path, DECLARED) as (system, restarting, batches):
        for _ in range(4):
            ended = len(restarting.exit_codes)
            system.kill("score-0")
            deadline = time.monotonic() + 60 * PATIENCE
            while len(restarting.exit_codes) == ended:
                assert time.monotonic() < deadline, "not restarted"
                time.sleep(0.1)
            time.sleep(0.5)
        batches.send([], good=50)
        assert messages(system) == []
        assert "they are isolated" not in (system.folder / "score-0.log").read_text()


@pytest.mark.faults
def test_a_record_that_no_trial_run_finds_becomes_one_dead_letter(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    with emptied(broker, tmp_path, DECLARED_UNTRIABLE) as (system, restarting, batches):
        batches.send([SEGFAULT], good=200)
        system.await_outcomes(180)
        ((code, message),) = messages(system)
        assert code == "record-crashes"
        assert message == f"{MAX_CRASHES} workers ended while they processed the record"
        assert len(restarting.exit_codes) <= 3 + MAX_CRASHES


@pytest.mark.faults
def test_a_record_that_hangs_becomes_one_dead_letter(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    with emptied(broker, tmp_path, DECLARED) as (system, restarting, batches):
        batches.send([SPIN], good=200)
        system.await_outcomes(180)
        assert [code for code, _ in messages(system)] == ["record-hangs"]
        assert len(restarting.exit_codes) == 2


@pytest.mark.faults
def test_a_poison_example_is_skipped(broker: EmbeddedBroker, tmp_path: Path) -> None:
    name = f"poison-{uuid4().hex[:8]}"
    with System(broker.bootstrap_servers, tmp_path, name, DECLARED_LEARNER, partitions=1) as system:
        system.start_all()
        with EmptiedRestarting(system, "learn-0") as restarting:
            at = int(time.time() * 1000) - HOUR
            for number in range(30):
                system.send_event(number, at + number)
                system.send_label(number, at + number + 500)
            system.await_outcomes()
            system.until(lambda: system.learned() == 29, 180, "the other examples are not learned")
            assert len(restarting.exit_codes) <= 5


def test_a_finished_worker_leaves_no_claim(broker: EmbeddedBroker, tmp_path: Path) -> None:
    with emptied(broker, tmp_path, DECLARED) as (system, _, _):
        reader = RetryingReader(
            {"bootstrap.servers": broker.bootstrap_servers}, f"{system.name}.score"
        )
        inputs = [InputPartition(f"{system.name}.raw", partition) for partition in (0, 1)]
        found = reader.committed_metadata(inputs).values()
        assert sum(one.offset for one in found) == system.sent["raw"]
        assert [one.metadata for one in found] == ["", ""]


# --- The steps of the isolation -------------------------------------------------------------------


NewProcess = Callable[[], tuple[ClaimJournal, Quarantine]]


@pytest.fixture
def new_process(tmp_path: Path) -> Iterator[NewProcess]:
    """Return a function that returns the claims of a new process with an empty folder."""
    made: list[Quarantine] = []

    def make() -> tuple[ClaimJournal, Quarantine]:
        made.append(Quarantine("p", tmp_path / uuid4().hex, Limits(), 60))
        return ClaimJournal(made[-1], ["p.raw", "p.labels"], 1000), made[-1]

    yield make
    for quarantine in made:
        quarantine.close()


class Partition:
    """Input of which one record ends every worker that processes it.

    Attributes:
        offset: committed offset.
        metadata: its metadata.
        commit_every: number of records that a worker processes between two commits; a chunk takes
            at most ten times as long.
    """

    def __init__(self, poison: int, commit_every: int = 1000) -> None:
        self.offset = 0
        self.metadata = ""
        self._poison = poison
        self._commit_every = commit_every

    def run(self, claims: ClaimJournal, quarantine: Quarantine) -> bool:
        """Process records as a stream task does; returns False if the worker died."""
        found = claims.resume(SOURCE, self.metadata, SOURCE.partition)
        chunk, next_offset = 1, self.offset
        while next_offset <= self._poison:
            size = found.limit(next_offset, chunk) if found else chunk
            records = [
                Record(*SOURCE, offset, 0, None, b"")
                for offset in range(next_offset, next_offset + size)
            ]
            alone = False
            if found is not None:
                self.offset, self.metadata = next_offset, found.begin(records)
                alone = found.isolates
                if found.is_over(records[-1].offset + 1):
                    found = None
            for record in records:
                candidate = quarantine.candidates.get(0, SOURCE.partition, record.offset)
                condemned = candidate is not None and candidate.crashes >= MAX_CRASHES
                if record.offset == self._poison and not condemned:
                    return False
                assert record.offset == self._poison or not condemned, "an innocent record"
            next_offset += size
            chunk = min(100, 10 * self._commit_every, chunk * 4)
            if alone or next_offset - self.offset >= self._commit_every:
                self.offset, self.metadata = next_offset, ""
        return True


@pytest.mark.parametrize("commit_every", [1, 7, 100, 1000])
@pytest.mark.parametrize("poison", [0, 1, 5, 63, 64, 65, 300, 999])
def test_a_record_that_no_trial_run_finds_is_found_in_few_restarts(
    new_process: NewProcess, poison: int, commit_every: int
) -> None:
    partition = Partition(poison, commit_every)
    deaths = 0
    while not partition.run(*new_process()):
        deaths += 1
        assert deaths < 12
    # Without a claim, with one without an end, and on the record alone. Each start that commits
    # chunks before it dies takes one more, because the first chunk has one record.
    assert deaths <= 7 + MAX_CRASHES


def test_a_claim_without_an_end_gives_every_record_a_trial_run(new_process: NewProcess) -> None:
    first, _ = new_process()
    claims = first.resume(SOURCE, "", 3)
    assert claims is not None
    assert not claims.isolates
    metadata = claims.begin([Record(*SOURCE, 70, 0, None, b"")])
    assert decode_claim(metadata) == Claim(str(claims._process), 70, OPEN)
    assert claims.is_over(71)
    second, quarantine = new_process()
    resumed = second.resume(SOURCE, metadata, 3)
    assert quarantine.candidates.includes_all
    assert resumed is not None
    assert resumed.isolates
    assert resumed.limit(70 + SINGLE_RECORDS - 1, 50) == 1
    assert resumed.limit(70 + SINGLE_RECORDS, 50) == 50


def test_a_task_of_the_same_process_has_not_died(new_process: NewProcess) -> None:
    claims, quarantine = new_process()
    first = claims.resume(SOURCE, "", 3)
    assert first is not None
    records = [Record(*SOURCE, 7, 0, None, b"")]
    again = claims.resume(SOURCE, first.begin(records), 3)
    assert again is not None
    assert not again.isolates
    single = Claim("another", 7, 8, 2).encode()
    for _ in range(5):
        taken = claims.resume(SOURCE, single, 3)
        assert taken is not None
        single = taken.begin(records)
    candidate = quarantine.candidates.get(0, 3, 7)
    assert candidate is not None
    assert candidate.crashes == 2


def test_a_worker_with_a_journal_claims_nothing(tmp_path: Path) -> None:
    base = tmp_path / "score-0"
    new = Quarantine("p", base, Limits(), 0)
    kept = Quarantine("p", base, Limits(), 0)
    assert (new.lost_journal, kept.lost_journal) == (True, False)
    assert ClaimJournal(kept, ["p.raw"], 1000).resume(SOURCE, "", 3) is None
    # The claim of another worker counts.
    claimed = Claim("another", 7, OPEN).encode()
    assert ClaimJournal(kept, ["p.raw"], 1000).resume(SOURCE, claimed, 3) is not None
    new.close()
    kept.close()


@pytest.mark.parametrize(
    "metadata",
    ["", "x", "null", "7", '"abcd"', "[1,2]", '["p",1,2,"3"]', '{"a":1,"b":2,"c":3,"d":4}'],
)
def test_other_metadata_is_no_claim(metadata: str) -> None:
    assert decode_claim(metadata) is None
