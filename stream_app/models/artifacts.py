"""The artifact store: files named by the SHA-256 of their content, in a folder or any other fsspec file system."""

import os
import secrets
import time
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from stream_app.errors import ModelError

_TEMPORARY = ".writing-"
_STALE_SECONDS = 3600  # no write takes longer; what is left was a process that was killed


class Artifact(NamedTuple):
    """Names some stored bytes: their SHA-256 in hexadecimal, and how many there are."""

    sha256: str
    size: int


class ArtifactStore:
    """Bytes by content, at `url` ("file:///…" or a path, "s3://…"); safe for several processes at once.

    A file has its final name only when it is complete and, on a local disk, on that disk. OSError passes through.
    """

    def __init__(self, url: str) -> None:
        self._fs, self._root = url_to_fs(url)
        self._local = isinstance(self._fs, LocalFileSystem)
        self._fs.makedirs(self._root, exist_ok=True)
        if self._local:
            _remove_stale(Path(self._root))

    def put(self, data: bytes) -> Artifact:
        """Store bytes; storing the same again changes nothing."""
        artifact = Artifact(sha256(data).hexdigest(), len(data))
        temporary = f"{self._root}/{_TEMPORARY}{artifact.sha256[:16]}-{secrets.token_hex(8)}"
        if self._local:
            _put_local(Path(temporary), Path(self.locate(artifact.sha256)), data)
        elif not self._has(artifact):
            self._fs.pipe_file(temporary, data)
            self._fs.mv(temporary, self.locate(artifact.sha256))
        return artifact

    def get(self, sha256_hex: str, size: int) -> bytes:
        """The bytes, verified; ModelError if they are missing or not what was stored."""
        name = self.locate(sha256_hex)
        try:
            data: bytes = self._fs.cat_file(name)
        except FileNotFoundError:
            raise ModelError(f"{name} is missing", "Restore the artifact store from its backup, or roll back") from None
        if len(data) != size or sha256(data).hexdigest() != sha256_hex:
            raise ModelError(
                f"{name} is damaged: {len(data)} bytes, expected {size} with that SHA-256",
                "Restore the file from a backup, or roll back to another version",
            )
        return data

    def delete(self, sha256_hex: str) -> None:
        """Remove an artifact that nothing names any more; a missing one is no error."""
        if self._fs.exists(self.locate(sha256_hex)):
            self._fs.rm_file(self.locate(sha256_hex))

    def locate(self, sha256_hex: str) -> str:
        """Full name of an artifact's file."""
        return f"{self._root}/{sha256_hex}"

    def _has(self, artifact: Artifact) -> bool:
        name = self.locate(artifact.sha256)
        return bool(self._fs.exists(name)) and int(self._fs.size(name)) == artifact.size


def _put_local(temporary: Path, final: Path, data: bytes) -> None:
    """Content to disk, then the name, then the folder; the folder also if the file was there, perhaps not on disk."""
    if not final.exists() or final.stat().st_size != len(data):
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(final)
    _sync_folder(final.parent)


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
