"""Verified downloads: in parallel, resumable, complete or not at all."""

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from hashlib import file_digest
from http.client import HTTPException
from pathlib import Path
from threading import Event, Lock, Thread
from typing import IO
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from stream_app.broker.broker_errors import DownloadError, disk_errors

RETRY_SECONDS = (0.5, 1.0, 2.0, 4.0)
_THREADS = 4
# Longest time without a byte.
_TIMEOUT_SECONDS = 30.0
_CHUNK_BYTES = 64 * 1024
_RETRIABLE_STATUSES = {408, 416, 429, 500, 502, 503, 504}
# Modification time of every copy: Java's class data archive is void when a jar's time changes.
_MODIFIED = 1577836800
_LINE_SECONDS = 5.0
_MB = 1_000_000

_REMEDY = (
    "Check the network and the proxy (HTTPS_PROXY), or name a mirror of Maven Central in "
    "STREAM_APP_BROKER__REPOSITORY; complete files are kept"
)


@dataclass(frozen=True, slots=True)
class Download:
    """File to download from `url` to `target`, with its expected digest and size in bytes."""

    url: str
    target: Path
    sha512: str
    size: int

    @property
    def part(self) -> Path:
        """File for the bytes until they are complete and verified."""
        return self.target.with_name(self.target.name + ".part")

    @property
    def received(self) -> int:
        """Number of bytes downloaded so far."""
        return self.part.stat().st_size if self.part.exists() else 0


class _RetriableError(Exception):
    """Failure of one attempt."""


def sha512_of(file: Path) -> str:
    """Return the SHA-512 of a file in hexadecimal."""
    with file.open("rb") as stream:
        return file_digest(stream, "sha512").hexdigest()


def fetch_all(
    downloads: Sequence[Download],
    retry_seconds: Sequence[float] = RETRY_SECONDS,
    name: str = "Apache Kafka",
) -> None:
    """Download files in parallel; the first permanent failure ends all.

    Args:
        retry_seconds: delay before each further attempt.
        name: name of the files as a whole, for the progress.

    Raises:
        DownloadError: a file cannot be fetched, or differs from its digest.
        DiskError: a folder is full or cannot be written.
    """
    stop = Event()
    missing = sum(download.size - download.received for download in downloads)
    with _report_progress(f"Fetching {name}", missing) as advance:
        tasks = _run_in_threads(
            [partial(_fetch, download, retry_seconds, advance, stop) for download in downloads]
        )
        try:
            finished = wait(tasks, return_when=FIRST_EXCEPTION).done
        finally:
            # After Ctrl-C nothing waits for the threads: a hanging network must not block the exit.
            stop.set()
        wait(tasks)
        for task in finished:
            task.result()


def _run_in_threads(calls: Sequence[Callable[[], None]]) -> list["Future[None]"]:
    """Run calls in daemon threads, which unlike an executor's do not block the process's exit."""
    tasks: list[Future[None]] = [Future() for _ in calls]
    waiting = deque(zip(tasks, calls, strict=True))

    def run() -> None:
        # IndexError: the queue is empty.
        with suppress(IndexError):
            while True:
                task, call = waiting.popleft()
                try:
                    task.set_result(call())
                except BaseException as error:
                    task.set_exception(error)

    for number in range(_THREADS):
        Thread(target=run, name=f"fetch-{number}", daemon=True).start()
    return tasks


def _fetch(
    download: Download,
    retry_seconds: Sequence[float],
    advance: Callable[[int], None],
    stop: Event,
) -> None:
    reason = ""
    with disk_errors(download.target.parent):
        download.target.parent.mkdir(parents=True, exist_ok=True)
    for seconds in (0.0, *retry_seconds):
        if stop.wait(seconds):
            return
        try:
            _transfer(download, advance, stop)
            if not stop.is_set():
                _accept(download)
            return
        except _RetriableError as error:
            reason = str(error)
    raise DownloadError(f"Cannot fetch {download.url}: {reason}", _REMEDY)


def _transfer(download: Download, advance: Callable[[int], None], stop: Event) -> None:
    """Append the missing bytes to the part; a server that cannot resume sends all bytes again."""
    received = download.received
    if received == download.size:
        return
    headers = {"Range": f"bytes={received}-", "User-Agent": "stream-app"}
    request = Request(download.url, headers=headers)
    try:
        with (
            urlopen(request, timeout=_TIMEOUT_SECONDS) as body,
            _open_part(download, received, body.status) as part,
        ):
            while not stop.is_set() and (chunk := body.read(_CHUNK_BYTES)):
                _write(download, part, chunk)
                advance(len(chunk))
    except HTTPError as error:
        with error:
            _raise_status(download, error)
    except (OSError, HTTPException) as error:
        raise _RetriableError(getattr(error, "reason", None) or error) from error


def _open_part(download: Download, received: int, status: int | None) -> IO[bytes]:
    # Unbuffered, so that a full disk is an error of the write and not of closing the file.
    with disk_errors(download.target.parent):
        return download.part.open("ab" if received and status == 206 else "wb", buffering=0)


def _write(download: Download, part: IO[bytes], chunk: bytes) -> None:
    if part.tell() + len(chunk) > download.size:
        download.part.unlink()
        raise _RetriableError(f"the response is longer than {download.size} bytes")
    rest = memoryview(chunk)
    with disk_errors(download.target.parent):
        while rest:
            rest = rest[part.write(rest) :]


def _raise_status(download: Download, error: HTTPError) -> None:
    if error.code not in _RETRIABLE_STATUSES:
        raise DownloadError(f"{download.url} answered {error.code} {error.reason}", _REMEDY)
    if error.code == 416:
        download.part.unlink(missing_ok=True)
    raise _RetriableError(f"it answered {error.code} {error.reason}")


def _accept(download: Download) -> None:
    """Rename a complete part with the expected digest; delete one with another digest."""
    if download.received < download.size:
        raise _RetriableError(f"only {download.received} of {download.size} bytes arrived")
    if sha512_of(download.part) != download.sha512:
        download.part.unlink()
        raise _RetriableError("its SHA-512 is not the one in jars.lock")
    with disk_errors(download.target.parent):
        os.utime(download.part, (_MODIFIED, _MODIFIED))
        download.part.replace(download.target)


@contextmanager
def _report_progress(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show the progress on standard error: a bar on a terminal, otherwise a line every 5 s.

    Yields a thread-safe function that takes the number of bytes received since its last call.
    """
    console = Console(stderr=True)
    if console.is_terminal:
        columns = (
            TextColumn(label),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task(label, total=total)
            yield lambda count: bar.advance(task, count)
    else:
        lines = _DownloadProgressLines(console, label, total)
        lines.show()
        yield lines.advance


class _DownloadProgressLines:
    def __init__(self, console: Console, label: str, total: int) -> None:
        self._console, self._label, self._total = console, label, total
        self._done, self._next = 0, time.monotonic() + _LINE_SECONDS
        self._lock = Lock()

    def advance(self, count: int) -> None:
        with self._lock:
            self._done += count
            if time.monotonic() >= self._next:
                self._next += _LINE_SECONDS
                self.show()

    def show(self) -> None:
        done = f"{self._done / _MB:.0f} of {self._total / _MB:.0f} MB"
        self._console.print(f"{self._label}: {done}", highlight=False, soft_wrap=True)
