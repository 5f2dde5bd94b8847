"""Slow artifact store: `slow:///folder` delays every read and write of the folder."""

import os
import time
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

DELAY_SECONDS = 3.0

DECLARED = """
from tests.faults import slow_store
from tests.small_pipeline import small_pipeline

slow_store.register()
pipeline = small_pipeline("NAME")
"""


class SlowFileSystem(fsspec.AbstractFileSystem):  # type: ignore[misc]
    """Local files behind fsspec's general interface, which the program uses as an object store."""

    protocol = "slow"
    _files = LocalFileSystem()

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        os.makedirs(path, exist_ok=exist_ok)

    def ls(self, path: str, detail: bool = True, **options: Any) -> Any:
        return self._files.ls(path, detail=detail)

    def info(self, path: str, **options: Any) -> Any:
        return self._files.info(path)

    def modified(self, path: str) -> Any:
        return self._files.modified(path)

    def rm_file(self, path: str) -> None:
        self._files.rm_file(path)

    def mv(self, path1: str, path2: str, **options: Any) -> None:
        self._files.mv(path1, path2)

    def cat_file(
        self, path: str, start: int | None = None, end: int | None = None, **options: Any
    ) -> Any:
        time.sleep(DELAY_SECONDS)
        return self._files.cat_file(path, start, end)

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **options: Any) -> None:
        time.sleep(DELAY_SECONDS)
        self._files.pipe_file(path, value)


def register() -> None:
    """Registers the scheme `slow:` in this process."""
    fsspec.register_implementation("slow", SlowFileSystem, clobber=True)
