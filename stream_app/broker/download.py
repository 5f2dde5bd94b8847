"""Fetch files whose digest is known: in parallel, resumed where a try broke off, never half there."""

import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from hashlib import file_digest
from http.client import HTTPException
from pathlib import Path
from threading import Event, Thread
from typing import IO
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from stream_app.broker.broker_errors import DownloadError, disk_errors
from stream_app.broker.download_progress import progress

PAUSES = (0.5, 1.0, 2.0, 4.0)  # seconds
_THREADS = 4
_TIMEOUT = 30.0  # seconds without a byte
_CHUNK = 64 * 1024
_TRY_AGAIN = {408, 416, 429, 500, 502, 503, 504}
_MODIFIED = (
    1577836800  # the same for every copy: the start archive is void when a jar's time changes
)

_REMEDY = (
    "Check the network and the proxy (HTTPS_PROXY), or name a mirror of Maven Central in "
    "STREAM_APP_BROKER__REPOSITORY; what is already here is kept"
)


@dataclass(frozen=True, slots=True)
class Download:
    """A file to fetch from `url` to `target`, which has `size` bytes and this digest."""

    url: str
    target: Path
    sha512: str
    size: int

    @property
    def part(self) -> Path:
        """Where the bytes are until they are complete and verified."""
        return self.target.with_name(self.target.name + ".part")

    @property
    def have(self) -> int:
        """How many bytes of it are here already."""
        return self.part.stat().st_size if self.part.exists() else 0


class _BrokenOffError(Exception):
    """A try failed in a way that another one may not."""


def sha512_of(file: Path) -> str:
    """The SHA-512 of a file, in hexadecimal."""
    with file.open("rb") as stream:
        return file_digest(stream, "sha512").hexdigest()


def fetch_all(
    downloads: Sequence[Download], pauses: Sequence[float] = PAUSES, name: str = "Apache Kafka"
) -> None:
    """Fetch every file; the first that fails for good ends the others.

    `pauses`: seconds before each further try. `name`: what they are, for the progress.
    Errors: `DownloadError`, `DiskError`.
    """
    stop = Event()
    missing = sum(download.size - download.have for download in downloads)
    with progress(f"Fetching {name}", missing) as advance:
        tasks = _in_threads(
            [partial(_fetch, download, pauses, advance, stop) for download in downloads]
        )
        try:
            finished = wait(tasks, return_when=FIRST_EXCEPTION).done
        finally:
            stop.set()  # when interrupted, that is all: a network that hangs must not keep us
        wait(tasks)
        for task in finished:
            task.result()


def _in_threads(works: Sequence[Callable[[], None]]) -> list["Future[None]"]:
    """Do the works in a few threads, which do not keep the process from ending, as an executor's would."""
    tasks: list[Future[None]] = [Future() for _ in works]
    waiting = deque(zip(tasks, works, strict=True))

    def run() -> None:
        with suppress(IndexError):  # nothing is waiting any more
            while True:
                task, work = waiting.popleft()
                try:
                    task.set_result(work())
                except BaseException as error:
                    task.set_exception(error)

    for number in range(_THREADS):
        Thread(target=run, name=f"fetch-{number}", daemon=True).start()
    return tasks


def _fetch(
    download: Download, pauses: Sequence[float], advance: Callable[[int], None], stop: Event
) -> None:
    reason = ""
    with disk_errors(download.target.parent):
        download.target.parent.mkdir(parents=True, exist_ok=True)
    for pause in (0.0, *pauses):
        if stop.wait(pause):
            return
        try:
            _transfer(download, advance, stop)
            if not stop.is_set():
                _accept(download)
            return
        except _BrokenOffError as error:
            reason = str(error)
    raise DownloadError(f"Cannot fetch {download.url}: {reason}", _REMEDY)


def _transfer(download: Download, advance: Callable[[int], None], stop: Event) -> None:
    """Append to the part what is missing of it; a server that cannot resume sends the whole again."""
    have = download.have
    if have == download.size:
        return
    request = Request(download.url, headers={"Range": f"bytes={have}-", "User-Agent": "stream-app"})
    try:
        with (
            urlopen(request, timeout=_TIMEOUT) as body,
            _open_part(download, have, body.status) as part,
        ):
            while not stop.is_set() and (chunk := body.read(_CHUNK)):
                _write(download, part, chunk)
                advance(len(chunk))
    except HTTPError as error:
        with error:
            _answered(download, error)
    except (OSError, HTTPException) as error:
        raise _BrokenOffError(getattr(error, "reason", None) or error) from error


def _open_part(download: Download, have: int, status: int | None) -> IO[bytes]:
    with disk_errors(download.target.parent):
        return download.part.open("ab" if have and status == 206 else "wb", buffering=0)


def _write(download: Download, part: IO[bytes], chunk: bytes) -> None:
    if part.tell() + len(chunk) > download.size:
        download.part.unlink()
        raise _BrokenOffError(f"the answer is longer than {download.size} bytes")
    rest = memoryview(chunk)
    with disk_errors(download.target.parent):
        while rest:  # unbuffered, so that a full disk shows here and not when the file is closed
            rest = rest[part.write(rest) :]


def _answered(download: Download, error: HTTPError) -> None:
    if error.code not in _TRY_AGAIN:
        raise DownloadError(f"{download.url} answered {error.code} {error.reason}", _REMEDY)
    if error.code == 416:
        download.part.unlink(missing_ok=True)
    raise _BrokenOffError(f"it answered {error.code} {error.reason}")


def _accept(download: Download) -> None:
    """Move a complete part with the right digest into place; throw a wrong one away."""
    if download.have < download.size:
        raise _BrokenOffError(f"only {download.have} of {download.size} bytes came")
    if sha512_of(download.part) != download.sha512:
        download.part.unlink()
        raise _BrokenOffError("its SHA-512 is not the one in jars.lock")
    with disk_errors(download.target.parent):
        os.utime(download.part, (_MODIFIED, _MODIFIED))
        download.part.replace(download.target)
