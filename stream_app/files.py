"""Atomic writes of files."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def atomic_file(
    path: Path,
    *,
    mode: int = 0o666,
    overwrite: bool = True,
    durable: bool = False,
    temporary: Path | None = None,
) -> Iterator[BinaryIO]:
    """Open a file that gets its name when the block ends, complete or not at all.

    Args:
        path: name of the file; its folder must exist.
        mode: permissions, less the process's umask.
        overwrite: False to fail if the name is taken.
        durable: True to flush the file and its name to disk before returning.
        temporary: name during the block, in the same folder; a hidden one by default.

    Raises:
        FileExistsError: the name is taken and `overwrite` is False.
        OSError: the file cannot be written; the temporary file is removed.
    """
    part = temporary or path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    try:
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        if overwrite:
            part.replace(path)
        else:
            # Unlike a rename, a link fails if the name is taken.
            os.link(part, path)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
    if durable:
        sync_folder(path.parent)


def write_atomically(path: Path, content: bytes | str, *, durable: bool = False) -> None:
    """Replace a file as a whole; text is written as UTF-8. Raises as `atomic_file`."""
    with atomic_file(path, durable=durable) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to disk."""
    # Windows cannot open folders; its file system journals names.
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
