"""The artifact store: files named by the SHA-256 of their content, in a folder or any other fsspec file system."""

import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from stream_app.errors import ModelError, SettingsError, StoreError
from stream_app.settings import Settings

_TEMPORARY = ".writing-"
_NAME = re.compile("[0-9a-f]{64}")
_STALE_SECONDS = 3600  # no write takes longer; what is left was a process that was killed


class Artifact(NamedTuple):
    """Names some stored bytes: their SHA-256 in hexadecimal, and how many there are."""

    sha256: str
    size: int


class Stored(NamedTuple):
    """An artifact as it is in the store."""

    sha256: str
    size: int


class ArtifactStore:
    """Bytes by content, at `url` ("file:///…" or a path, "s3://…"); safe for several processes at once.

    A file has its final name only when it is complete and, on a local disk, on that disk. `SettingsError` for a URL
    that cannot be right, `StoreError` while the file system fails.
    """

    def __init__(self, url: str) -> None:
        try:
            self._fs, self._root = url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise SettingsError(
                f"STREAM_APP_STORE_URL cannot be used: {error}", "Correct it, or install that"
            ) from None
        self._local = isinstance(self._fs, LocalFileSystem)
        with self._errors(SettingsError if self._local else StoreError):
            self._fs.makedirs(self._root, exist_ok=True)
            if self._local:
                _remove_stale(Path(self._root))

    def put(self, data: bytes) -> Artifact:
        """Store bytes; storing the same again only makes it count as new."""
        artifact = Artifact(sha256(data).hexdigest(), len(data))
        temporary = f"{self._root}/{_TEMPORARY}{artifact.sha256[:16]}-{secrets.token_hex(8)}"
        with self._errors(StoreError):
            if self._local:
                _put_local(Path(temporary), Path(self.locate(artifact.sha256)), data)
            else:
                self._fs.pipe_file(temporary, data)
                self._fs.mv(temporary, self.locate(artifact.sha256))
        return artifact

    def get(self, sha256_hex: str, size: int) -> bytes:
        """The bytes, verified; ModelError if they are missing or not what was stored."""
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
        """Remove an artifact that nothing names any more; a missing one is no error."""
        with self._errors(StoreError):
            if self._fs.exists(self.locate(sha256_hex)):
                self._fs.rm_file(self.locate(sha256_hex))

    def stored(self) -> list[Stored]:
        """Every artifact, by name."""
        with self._errors(StoreError):
            self._fs.invalidate_cache()
            try:
                entries = self._fs.ls(self._root, detail=True)
            except FileNotFoundError:  # an object store has no empty folders
                return []
        named = [(entry["name"].rsplit("/", 1)[-1], int(entry["size"] or 0)) for entry in entries]
        return sorted(Stored(name, size) for name, size in named if _NAME.fullmatch(name))

    def modified(self, sha256_hex: str) -> float:
        """When an artifact was last stored, also the same again: seconds since the epoch; now if it is gone."""
        with self._errors(StoreError):
            try:
                when: datetime = self._fs.modified(self.locate(sha256_hex))
            except FileNotFoundError:
                return time.time()
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()

    def delete_all(self) -> None:
        """Remove the store itself, with all that is in it."""
        with (
            self._errors(StoreError),
            suppress(FileNotFoundError),
        ):  # an object store has no empty folders
            self._fs.rm(self._root, recursive=True)

    def locate(self, sha256_hex: str) -> str:
        """Full name of an artifact's file."""
        return f"{self._root}/{sha256_hex}"

    @contextmanager
    def _errors(self, kind: type[SettingsError | StoreError]) -> Iterator[None]:
        """Name the store in what the file system raises."""
        try:
            yield
        except OSError as error:
            raise kind(
                f"The artifact store {self._root} cannot be used: {error.strerror or error}",
                "See that it can be reached, has room, and lets this user write, or correct STREAM_APP_STORE_URL",
            ) from error


def pipeline_store(settings: Settings, pipeline: str) -> ArtifactStore:
    """Where the artifacts of the pipeline so named are kept: apart from those of others, for they come and go."""
    return ArtifactStore(f"{settings.store.rstrip('/')}/{pipeline}")


def _put_local(temporary: Path, final: Path, data: bytes) -> None:
    """Content to disk, then the name, then the folder; the folder also if the file was there, perhaps not on disk."""
    if not _renew(final, len(data)):
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(final)
        except OSError:
            temporary.unlink(
                missing_ok=True
            )  # every other try would fill a full disk a little more
            raise
    _sync_folder(final.parent)


def _renew(final: Path, size: int) -> bool:
    """Whether it is there as it should be; then it counts as new, so that nobody collects it."""
    with suppress(FileNotFoundError):
        if final.stat().st_size == size:
            os.utime(final)
            return True
    return False


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":
        return  # Windows cannot open folders; its file system journals names
    descriptor: Any = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_stale(folder: Path) -> None:
    for file in folder.glob(f"{_TEMPORARY}*"):
        try:
            if time.time() - file.stat().st_mtime > _STALE_SECONDS:
                file.unlink()
        except FileNotFoundError:
            continue  # another process was faster
