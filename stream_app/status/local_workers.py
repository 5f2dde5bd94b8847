"""The workers of this machine: their run files, and what they answer on their health ports."""

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import psutil

from stream_app.worker.run_folder import read_ending

_TIMEOUT = 1.0  # seconds for one answer
_FORGOTTEN_SECONDS = 24 * 3600
_MEMORY = re.compile(r"^process_resident_memory_bytes (\S+)$", re.MULTILINE)


class LocalWorker(NamedTuple):
    """A worker that runs or ran here.

    `pid` is None if it does not run; `readiness` is what `/readyz` answers, None if it does not. `ending` is the error
    that it ended with, if it left word.
    """

    name: str
    pid: int | None = None
    readiness: dict[str, Any] | None = None
    memory_bytes: int | None = None
    ending: str | None = None


def local_workers(folder: Path) -> list[LocalWorker]:
    """Every worker that has left a file in the pipeline's run folder; one that ended long ago is forgotten."""
    names = sorted(
        {file.stem for suffix in ("json", "ended") for file in folder.glob(f"*.{suffix}")}
    )
    with ThreadPoolExecutor(max_workers=max(1, len(names))) as pool:
        found = pool.map(lambda name: _worker(folder, name), names)
    return [worker for worker in found if worker.pid is not None or _is_recent(folder, worker.name)]


def _is_recent(folder: Path, name: str) -> bool:
    since = time.time() - _FORGOTTEN_SECONDS
    return any(
        file.stat().st_mtime > since
        for file in folder.glob(f"{name}.*")
        if file.suffix in (".json", ".ended")
    )


def _worker(folder: Path, name: str) -> LocalWorker:
    file = folder / f"{name}.json"
    try:
        run = json.loads(file.read_text())
        pid, address, announced = run["pid"], f"{run['host']}:{run['port']}", file.stat().st_mtime
    except (OSError, ValueError, KeyError, TypeError):
        return LocalWorker(name, ending=_ending(folder, name))
    readiness = _readiness(address, pid)
    if readiness is not None:
        return LocalWorker(name, pid, readiness, _memory(address))
    return (
        LocalWorker(name, pid)
        if _runs(pid, announced)
        else LocalWorker(name, ending=_ending(folder, name))
    )


def _ending(folder: Path, name: str) -> str | None:
    noted = read_ending(folder / f"{name}.ended")
    return None if noted is None else noted[0]


def _runs(pid: int, announced: float) -> bool:
    """Whether the process that wrote a run file at that time still runs, and not a later one with its number."""
    try:
        process = psutil.Process(pid)
        return process.create_time() <= announced and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _readiness(address: str, pid: int) -> dict[str, Any] | None:
    """The answer of that process; another may have its port by now."""
    try:
        answer = json.loads(_get(address, "/readyz"))
    except ValueError:
        return None
    return answer if isinstance(answer, dict) and answer.get("pid") == pid else None


def _memory(address: str) -> int | None:
    found = _MEMORY.search(_get(address, "/metrics"))
    return int(float(found[1])) if found else None


def _get(address: str, path: str) -> str:
    """The answer's text, whatever its status; empty if there is none."""
    try:
        with urlopen(f"http://{address}{path}", timeout=_TIMEOUT) as answer:
            return str(answer.read().decode())
    except HTTPError as error:
        return error.read().decode("utf-8", "replace")
    except (URLError, OSError, ValueError):
        return ""
