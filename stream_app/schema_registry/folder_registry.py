"""Folder as a registry, for tests, CI and single machines: files `<id>-<subject>.avsc`."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple
from urllib.request import url2pathname

from filelock import FileLock, Timeout

from stream_app.core.reading.decoding import SchemaId
from stream_app.errors import RegistryError, SettingsError
from stream_app.files import write_atomically
from stream_app.schema_registry.address import URL_VARIABLE, split_url
from stream_app.schema_registry.registry import UnknownSchemaError

_NAME = re.compile(r"(?P<id>\d+)-(?P<subject>.+)\.avsc")
_LOCK_SECONDS = 5.0


def folder_of(url: str) -> Path:
    """Return the folder of a URL such as `file:///srv/schemas`.

    Raises:
        SettingsError: the URL does not name a folder of this machine.
    """
    parts = split_url(url)
    folder = Path(url2pathname(parts.path))
    if parts.netloc not in ("", "localhost") or not folder.is_absolute():
        raise SettingsError(
            f"{URL_VARIABLE} does not name a folder of this machine",
            "Give file:///absolute/folder",
        )
    return folder


class _FolderEntry(NamedTuple):
    id: int
    subject: str
    file: Path


class FolderRegistry:
    """Registry of the schemas in a folder.

    The versions of a subject are its files in the order of their ids. A registered schema is
    visible to other processes immediately and completely. GUIDs are not supported.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def schema(self, schema_id: SchemaId) -> str:
        """Return a schema; see `SchemaRegistry`."""
        for entry in self._entries():
            if entry.id == schema_id:
                return _read(entry.file)
        raise UnknownSchemaError(f"the registry has no schema {schema_id}")

    def versions(self, subject: str) -> list[str]:
        """Return the schemas of a subject; see `SchemaRegistry`."""
        return [_read(entry.file) for entry in self._entries() if entry.subject == subject]

    def lookup_id(self, subject: str, schema: str) -> int | None:
        """Return the id of a schema; white space and the order of attributes are ignored."""
        wanted = json.loads(schema)
        found = (entry for entry in self._entries() if entry.subject == subject)
        return next((entry.id for entry in found if json.loads(_read(entry.file)) == wanted), None)

    def register(self, subject: str, schema: str) -> int:
        """Register a schema under the next id; processes are serialized by a lock."""
        # A missing folder is an error: creating one under a misspelt name would restart the ids.
        self._entries()
        with self._errors_explained(), FileLock(self._folder / ".lock", timeout=_LOCK_SECONDS):
            known = self.lookup_id(subject, schema)
            return self._add(subject, schema) if known is None else known

    def _add(self, subject: str, schema: str) -> int:
        new = max((entry.id for entry in self._entries()), default=0) + 1
        text = json.dumps(json.loads(schema), indent=2, ensure_ascii=False) + "\n"
        # If the new name were lost in a power failure, its id would be assigned to another schema
        # after records were written with it.
        write_atomically(self._folder / f"{new}-{subject}.avsc", text, durable=True)
        return new

    def _entries(self) -> list[_FolderEntry]:
        """Return all schemas, oldest first."""
        with self._errors_explained():
            files = sorted(file for file in self._folder.iterdir() if file.suffix == ".avsc")
        entries = sorted(_entry(file) for file in files)
        for one, other in pairwise(entries):
            if one.id == other.id:
                raise RegistryError(
                    f"{one.file} and {other.file} have the same id", "Give one of them another id"
                )
        return entries

    @contextmanager
    def _errors_explained(self) -> Iterator[None]:
        try:
            yield
        except Timeout:
            raise RegistryError(
                f"The schemas in {self._folder} are locked by another process",
                "Try again when it has finished",
            ) from None
        except OSError as error:
            raise RegistryError(
                f"The schemas in {self._folder} cannot be used: {error.strerror}",
                "Create the folder or correct its name, and let this user read and write it",
            ) from None


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
