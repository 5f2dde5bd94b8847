"""A folder as the registry: one file per schema, `<id>-<subject>.avsc`; made for tests, CI and a single machine."""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from stream_app.errors import RegistryError
from stream_app.schema_registry.registry import SchemaId, UnknownSchemaError

_NAME = re.compile(r"(?P<id>\d+)-(?P<subject>.+)\.avsc")
_LOCK_TIMEOUT = 5.0  # seconds


class _FolderEntry(NamedTuple):
    id: int
    subject: str
    file: Path


class FolderRegistry:
    """The schemas in `folder`. A subject's versions are its files in the order of their ids.

    What is registered is there for other processes at once and as a whole. GUIDs are not known here.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def schema(self, schema_id: SchemaId) -> str:
        """As the protocol says."""
        for entry in self._entries():
            if entry.id == schema_id:
                return _read(entry.file)
        raise UnknownSchemaError(f"the registry has no schema {schema_id}")

    def versions(self, subject: str) -> list[str]:
        """As the protocol says."""
        return [_read(entry.file) for entry in self._entries() if entry.subject == subject]

    def id_of(self, subject: str, schema: str) -> int | None:
        """As the protocol says; layout and the order of attributes make no difference."""
        wanted = json.loads(schema)
        found = (entry for entry in self._entries() if entry.subject == subject)
        return next((entry.id for entry in found if json.loads(_read(entry.file)) == wanted), None)

    def register(self, subject: str, schema: str) -> int:
        """As the protocol says; takes the next id, one process at a time."""
        self._entries()  # a folder that is missing is not made: the ids of one with a wrong name would begin at 1
        with self._explained(), FileLock(self._folder / ".lock", timeout=_LOCK_TIMEOUT):
            known = self.id_of(subject, schema)
            return known if known is not None else self._add(subject, schema)

    def _add(self, subject: str, schema: str) -> int:
        new = max((entry.id for entry in self._entries()), default=0) + 1
        part = self._folder / ".part"
        with part.open("w", encoding="utf-8") as stream:
            stream.write(json.dumps(json.loads(schema), indent=2, ensure_ascii=False) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        part.rename(self._folder / f"{new}-{subject}.avsc")
        _sync(self._folder)
        return new

    def _entries(self) -> list[_FolderEntry]:
        """All schemas, oldest first."""
        with self._explained():
            files = sorted(file for file in self._folder.iterdir() if file.suffix == ".avsc")
        entries = sorted(_entry(file) for file in files)
        for one, other in pairwise(entries):
            if one.id == other.id:
                raise RegistryError(
                    f"{one.file} and {other.file} have the same id", "Give one of them another id"
                )
        return entries

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except Timeout:
            raise RegistryError(
                f"Another process keeps the schemas in {self._folder} locked",
                "Try again when it has finished",
            ) from None
        except OSError as error:
            raise RegistryError(
                f"The schemas in {self._folder} cannot be used: {error.strerror}",
                "Create the folder or correct its name, and see that this user may read and write there",
            ) from None


def _sync(folder: Path) -> None:
    """A name that were lost with the power would have its id given to another schema, after records were written."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _entry(file: Path) -> _FolderEntry:
    match = _NAME.fullmatch(file.name)
    if match is None:
        raise RegistryError(
            f"{file} is not named <id>-<subject>.avsc",
            "Rename it, e.g. to 1-payments.raw-value.avsc",
        )
    return _FolderEntry(int(match["id"]), match["subject"], file)


def _read(file: Path) -> str:
    try:
        text = file.read_text(encoding="utf-8")
        json.loads(text)
    except (OSError, ValueError) as error:
        raise RegistryError(
            f"{file} is not a schema: {error}", "Correct the file, or remove it"
        ) from None
    return text
