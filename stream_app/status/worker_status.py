"""Workers: members of consumer groups, combined with what this machine knows of its own workers.

With the progress of each role in the partitions that it reads, and rates.
"""

import json
import re
import time
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import psutil

from stream_app.core.scoring.record_counts import RecordCounts
from stream_app.kafka.offsets import OffsetBounds, PartitionId
from stream_app.kafka.partition_reader import PartitionReader
from stream_app.kafka.topic_uses import ROLE_INPUTS
from stream_app.status.cluster_view import ConsumerGroup, GroupMember
from stream_app.status.status_model import InputStatus, Rates, RoleStatus, WorkerState, WorkerStatus
from stream_app.topic_kinds import topic_name
from stream_app.worker.run_folder import read_error

_HTTP_SECONDS = 1.0
_KEEP_ENDED_SECONDS = 24 * 3600
_MEMORY = re.compile(r"^process_resident_memory_bytes(?:\{.*\})? (\S+)$", re.MULTILINE)


class LocalWorker(NamedTuple):
    """Worker that runs or ran on this machine.

    Attributes:
        pid: process id, None if it does not run.
        readiness: the answer of `/readyz`, None without one.
        memory_bytes: resident memory.
        error: the error with which it ended, if it noted one.
    """

    name: str
    pid: int | None = None
    readiness: dict[str, Any] | None = None
    memory_bytes: int | None = None
    error: str | None = None


def local_workers(folder: Path) -> list[LocalWorker]:
    """Return the workers with a file in a run folder, without those that ended over a day ago."""
    names = sorted(
        {file.stem for suffix in ("json", "error") for file in folder.glob(f"*.{suffix}")}
    )
    with ThreadPoolExecutor(max_workers=max(1, len(names))) as pool:
        found = pool.map(lambda name: _local_worker(folder, name), names)
    return [worker for worker in found if worker.pid is not None or _is_recent(folder, worker.name)]


def _is_recent(folder: Path, name: str) -> bool:
    since = time.time() - _KEEP_ENDED_SECONDS
    return any(
        file.stat().st_mtime > since
        for file in folder.glob(f"{name}.*")
        if file.suffix in (".json", ".error")
    )


def _local_worker(folder: Path, name: str) -> LocalWorker:
    file = folder / f"{name}.json"
    try:
        run = json.loads(file.read_text())
        pid, address, started = run["pid"], f"{run['host']}:{run['port']}", file.stat().st_mtime
    except (OSError, ValueError, KeyError, TypeError):
        return LocalWorker(name, error=_noted_error(folder, name))
    readiness = _readiness(address, pid)
    if readiness is not None:
        return LocalWorker(name, pid, readiness, _memory_bytes(address))
    if _is_running(pid, started):
        return LocalWorker(name, pid)
    return LocalWorker(name, error=_noted_error(folder, name))


def _noted_error(folder: Path, name: str) -> str | None:
    noted = read_error(folder / f"{name}.error")
    return None if noted is None else noted[0]


def _is_running(pid: int, started: float) -> bool:
    """Return True if the process runs that had this id then, and not a later one with its id."""
    try:
        process = psutil.Process(pid)
        return process.create_time() <= started and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _readiness(address: str, pid: int) -> dict[str, Any] | None:
    """Return the answer of the process, None if another process has its port by now."""
    try:
        answer = json.loads(_get(address, "/readyz"))
    except ValueError:
        return None
    return answer if isinstance(answer, dict) and answer.get("pid") == pid else None


def _memory_bytes(address: str) -> int | None:
    found = _MEMORY.search(_get(address, "/metrics"))
    return int(float(found[1])) if found else None


def _get(address: str, path: str) -> str:
    """Return the body of a response of any HTTP status, or "" without a response."""
    try:
        with urlopen(f"http://{address}{path}", timeout=_HTTP_SECONDS) as answer:
            return str(answer.read().decode())
    except HTTPError as error:
        return error.read().decode("utf-8", "replace")
    except (URLError, OSError, ValueError):
        return ""


def worker_name(group: ConsumerGroup, role: str, member: GroupMember) -> str:
    """Return the name of a member: `score-0`, or its own id if it is no worker of the pipeline."""
    prefix = f"{group.name}."
    if member.instance is not None and member.instance.startswith(prefix):
        return f"{role}-{member.instance.removeprefix(prefix)}"
    return member.instance or member.client


def role_status(
    pipeline: str, role: str, group: ConsumerGroup, local: Iterable[LocalWorker]
) -> RoleStatus:
    """Return the status of a role with all its workers in the order of their names."""
    members = {worker_name(group, role, member): member for member in group.members}
    here = {worker.name: worker for worker in local if worker.name.startswith(f"{role}-")}
    first_input = None if role == "ingest" else topic_name(pipeline, ROLE_INPUTS[role][0])
    workers = [
        _worker_status(name, members.get(name), here.get(name), first_input)
        for name in sorted(members.keys() | here.keys(), key=lambda name: (len(name), name))
    ]
    return RoleStatus(role, group.name, bool(group.members), bool(group.offsets), tuple(workers))


def _worker_status(
    name: str, member: GroupMember | None, found: LocalWorker | None, topic: str | None
) -> WorkerStatus:
    local = found or LocalWorker(name)
    readiness = local.readiness or {}
    errors = (local.error,) if local.error is not None and local.pid is None else ()
    assigned = member.partitions if member else ()
    return WorkerStatus(
        name=name,
        state=_state(member, found),
        reasons=tuple(readiness.get("reasons", errors)),
        member=member is not None,
        host=member.host if member else "",
        partitions=tuple(sorted(number for owned, number in assigned if topic in (None, owned))),
        pid=local.pid,
        model_version=readiness.get("model_version"),
        memory_bytes=local.memory_bytes,
    )


def _state(member: GroupMember | None, local: LocalWorker | None) -> WorkerState:
    """Return the state; a dead worker of this machine stays a member until its session ends."""
    if local is not None and local.readiness is not None:
        return "ready" if local.readiness.get("ready") else "not ready"
    if local is not None and local.pid is not None:
        return "unresponsive"
    elsewhere = member is not None and (local is None or member.host not in _own_addresses())
    return "running" if elsewhere else "ended"


@cache
def _own_addresses() -> frozenset[str]:
    return frozenset(
        address.address for addresses in psutil.net_if_addrs().values() for address in addresses
    )


class GroupProgress(NamedTuple):
    """Progress of a role in a partition.

    Attributes:
        next: offset of the next record, None before the first commit.
        low: beginning offset of the partition.
        end: end offset of the partition.
    """

    role: str
    partition_id: PartitionId
    next: int | None
    low: int
    end: int

    @property
    def position(self) -> int:
        """Offset of the next record that still exists."""
        return self.low if self.next is None else min(max(self.next, self.low), self.end)

    @property
    def lost(self) -> int:
        """Number of records that were deleted before they were read."""
        return 0 if self.next is None else max(0, self.low - self.next)


def oldest_times(
    reader: PartitionReader, progress: list[GroupProgress]
) -> dict[tuple[str, PartitionId], int]:
    """Return the timestamps (Unix milliseconds) of the oldest unread records.

    Partitions without an unread record are left out. Each role is read separately, because two
    roles may have different positions in one partition, and a consumer reads a partition once.
    """
    times = {}
    for role in {one.role for one in progress}:
        unread = {
            one.partition_id: (one.position, one.end)
            for one in progress
            if one.role == role and one.position < one.end
        }
        found = reader.first(unread) if unread else {}
        times.update(
            {
                (role, partition_id): message.timestamp()[1]
                for partition_id, message in found.items()
            }
        )
    return times


def input_status(
    progress: GroupProgress, group: ConsumerGroup, oldest: int | None, now: int
) -> InputStatus:
    """Return the status of one partition that a role reads.

    Args:
        oldest: timestamp of the oldest unread record in Unix milliseconds, None without one.
        now: Unix milliseconds.
    """
    owner = group.owner(progress.partition_id)
    topic, partition = progress.partition_id
    return InputStatus(
        role=progress.role,
        topic=topic,
        partition=partition,
        worker=None if owner is None else worker_name(group, progress.role, owner),
        position=progress.position,
        end=progress.end,
        lag_records=0 if oldest is None else progress.end - progress.position,
        lag_seconds=0.0 if oldest is None else round(max(0, now - oldest) / 1000, 1),
        lost=progress.lost,
    )


def next_offsets(
    group: ConsumerGroup, positions: Mapping[PartitionId, int]
) -> dict[PartitionId, int]:
    """Return the next offset by partition: as committed by the group, else as in the state."""
    return {**positions, **group.offsets}


class ProgressSample(NamedTuple):
    """Sample from which rates are computed.

    Attributes:
        at: monotonic seconds.
        raw: sum of the end offsets of the events; `labels` likewise.
        counts: record counts of all partitions.
    """

    at: float
    raw: int
    labels: int
    counts: RecordCounts


def take_sample(
    at: float,
    bounds: OffsetBounds,
    events: Collection[str],
    labels: Collection[str],
    counts: RecordCounts,
) -> ProgressSample:
    """Return a sample; `events` and `labels` are names of topics."""

    def end_sum(topics: Collection[str]) -> int:
        return sum(end for (name, _), (_, end) in bounds.items() if name in topics)

    return ProgressSample(at, end_sum(events), end_sum(labels), counts)


def rates(before: ProgressSample, after: ProgressSample) -> Rates:
    """Return the rates between two samples."""
    seconds = max(after.at - before.at, 1e-3)

    def per_second(change: int) -> float:
        return round(max(0, change) / seconds, 1)

    old, new = before.counts, after.counts
    return Rates(
        seconds=round(seconds, 3),
        events_in=per_second(after.raw - before.raw),
        labels_in=per_second(after.labels - before.labels),
        events_done=per_second(new.events - old.events),
        scored=per_second(new.scored - old.scored),
        joined=per_second(new.joined - old.joined),
        dead_letters=per_second(_dead_letters(new) - _dead_letters(old)),
    )


def _dead_letters(counts: RecordCounts) -> int:
    return counts.dead.total() + counts.label_dead.total()
