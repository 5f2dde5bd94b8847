"""Workers: members of consumer groups, combined with what this machine knows of its own workers."""

import json
import re
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import psutil

from stream_app.kafka.topic_uses import ROLE_INPUTS
from stream_app.status.cluster_view import ConsumerGroup, GroupMember
from stream_app.status.status_model import RoleStatus, WorkerState, WorkerStatus
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
    first_input = topic_name(pipeline, ROLE_INPUTS[role][0])
    workers = [
        _worker_status(name, members.get(name), here.get(name), first_input)
        for name in sorted(members.keys() | here.keys(), key=lambda name: (len(name), name))
    ]
    return RoleStatus(role, group.name, bool(group.members), bool(group.offsets), tuple(workers))


def _worker_status(
    name: str, member: GroupMember | None, found: LocalWorker | None, topic: str
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
        partitions=tuple(sorted(number for owned, number in assigned if owned == topic)),
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
