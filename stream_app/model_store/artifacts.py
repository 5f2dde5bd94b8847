"""Artifact store: files named by the SHA-256 of their content, on any fsspec file system."""

import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from errno import EROFS
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple, TypeVar

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from stream_app.errors import ModelError, SettingsError, StoreError
from stream_app.files import atomic_file, sync_folder
from stream_app.retrying import NEVER, retry_until
from stream_app.settings import Settings
from stream_app.telemetry.logs import get_logger

log = get_logger(__name__)

# Interval of attempts while the store fails.
STORE_RETRY_SECONDS = 2.0

_TEMPORARY_PREFIX = ".writing-"
_ARTIFACT_NAME = re.compile("[0-9a-f]{64}")
# No write takes longer: older temporary files are of processes that were killed.
_STALE_SECONDS = 3600

_T = TypeVar("_T")


class Artifact(NamedTuple):
    """Stored bytes: their SHA-256 in hexadecimal, and their number."""

    sha256: str
    size: int


class ArtifactStore:
    """Content-addressed store; safe for concurrent use by several processes.

    A file gets its final name only when it is complete and, on a local disk, synced.

    Args:
        url: "file:///…", a path, or the URL of another file system, such as "s3://…".

    Raises:
        SettingsError: the URL cannot be used.
        StoreError: raised by every method while the file system fails.
    """

    def __init__(self, url: str) -> None:
        try:
            self._fs, self._root = url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise SettingsError(
                f"STREAM_APP_STORE_URL cannot be used: {error}",
                "Correct it, or install the missing package",
            ) from None
        self._local = isinstance(self._fs, LocalFileSystem)
        with self._errors(SettingsError if self._local else StoreError):
            self._prepare()

    def _prepare(self) -> None:
        try:
            self._fs.makedirs(self._root, exist_ok=True)
            if self._local:
                _remove_stale(Path(self._root))
        except OSError as error:
            # Mounted read-only, for a process that only reads: the learner makes the folder.
            if error.errno != EROFS:
                raise

    def put(self, data: bytes) -> Artifact:
        """Store bytes. Storing the same bytes again only renews their modification time."""
        artifact = Artifact(sha256(data).hexdigest(), len(data))
        temporary = f"{self._root}/{_TEMPORARY_PREFIX}{artifact.sha256[:16]}-{secrets.token_hex(8)}"
        with self._errors(StoreError):
            if self._local:
                _put_local(Path(temporary), Path(self.locate(artifact.sha256)), data)
            else:
                self._fs.pipe_file(temporary, data)
                self._fs.mv(temporary, self.locate(artifact.sha256))
        return artifact

    def get(self, sha256_hex: str, size: int) -> bytes:
        """Return the verified bytes of an artifact.

        Raises:
            ModelError: the artifact is missing or damaged.
        """
        name = self.locate(sha256_hex)
        with self._errors(StoreError):
            try:
                data: bytes = self._fs.cat_file(name)
            except FileNotFoundError:
                remedy = "Restore the artifact store from its backup, or roll back"
                raise ModelError(f"{name} is missing", remedy) from None
        if len(data) != size or sha256(data).hexdigest() != sha256_hex:
            raise ModelError(
                f"{name} is damaged: {len(data)} bytes, expected {size} with that SHA-256",
                "Restore the file from a backup, or roll back to another version",
            )
        return data

    def delete(self, sha256_hex: str) -> None:
        """Delete an artifact; a missing one is no error."""
        with self._errors(StoreError):
            if self._fs.exists(self.locate(sha256_hex)):
                self._fs.rm_file(self.locate(sha256_hex))

    def stored(self) -> list[Artifact]:
        """Return every stored artifact, sorted by name."""
        with self._errors(StoreError):
            self._fs.invalidate_cache()
            try:
                entries = self._fs.ls(self._root, detail=True)
            # An object store has no empty folders.
            except FileNotFoundError:
                return []
        named = [(entry["name"].rsplit("/", 1)[-1], int(entry["size"] or 0)) for entry in entries]
        return sorted(
            Artifact(name, size) for name, size in named if _ARTIFACT_NAME.fullmatch(name)
        )

    def modified(self, sha256_hex: str) -> float:
        """Return the time of the last `put` in Unix seconds, or now if the artifact is missing."""
        with self._errors(StoreError):
            try:
                when: datetime = self._fs.modified(self.locate(sha256_hex))
            except FileNotFoundError:
                return time.time()
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()

    def delete_all(self) -> None:
        """Delete the store with all its artifacts."""
        # An object store has no empty folders.
        with self._errors(StoreError), suppress(FileNotFoundError):
            self._fs.rm(self._root, recursive=True)

    def locate(self, sha256_hex: str) -> str:
        """Return the full name of an artifact's file."""
        return f"{self._root}/{sha256_hex}"

    @contextmanager
    def _errors(self, kind: type[SettingsError | StoreError]) -> Iterator[None]:
        """Convert errors of the file system to errors that name the store."""
        try:
            yield
        except OSError as error:
            raise kind(
                f"The artifact store {self._root} cannot be used: {error.strerror or error}",
                "Check that it is reachable, has free space, and is writable for this user, "
                "or correct STREAM_APP_STORE_URL",
            ) from error


def pipeline_store(settings: Settings, pipeline: str) -> ArtifactStore:
    """Open the store of one pipeline, separate from the stores of others.

    Args:
        settings: settings with the root of all stores.
        pipeline: name of the pipeline.
    """
    return ArtifactStore(f"{settings.store.rstrip('/')}/{pipeline}")


def wait_for_store(call: Callable[[], _T]) -> _T:
    """Return the result of a call, repeated until the store answers; logs why it waits."""
    problem = ""

    def is_retriable(error: StoreError) -> bool:
        nonlocal problem
        if str(error) != problem:
            log.error("waiting for the artifact store", why=str(error))
        problem = str(error)
        return True

    return retry_until(NEVER, call, StoreError, is_retriable, STORE_RETRY_SECONDS)


def _put_local(temporary: Path, final: Path, data: bytes) -> None:
    """Sync the content, then rename the file, then sync the folder.

    The folder is also synced if the file exists: the process that wrote it may not have done so.
    """
    if _renew(final, len(data)):
        sync_folder(final.parent)
        return
    with atomic_file(final, durable=True, temporary=temporary) as file:
        file.write(data)


def _renew(final: Path, size: int) -> bool:
    """Return True if the file is complete; renews its time, so that it is not collected."""
    with suppress(FileNotFoundError):
        if final.stat().st_size == size:
            os.utime(final)
            return True
    return False


def _remove_stale(folder: Path) -> None:
    for file in folder.glob(f"{_TEMPORARY_PREFIX}*"):
        try:
            if time.time() - file.stat().st_mtime > _STALE_SECONDS:
                file.unlink()
        # Another process deleted it first.
        except FileNotFoundError:
            continue
