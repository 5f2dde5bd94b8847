"""What to check a pipeline's schemas against where there is no registry: a folder of released schemas, or one file."""

import json
from pathlib import Path
from typing import Any

from stream_app.errors import InputError
from stream_app.pipeline import Pipeline
from stream_app.schema_registry.folder_registry import FolderRegistry
from stream_app.schema_registry.subjects import Versions, registered_in, subjects_of


def versions_at(path: Path, pipeline: Pipeline) -> Versions:
    """The versions in a folder of `<id>-<subject>.avsc`, or the one in a file, which belongs to the record's namesake.

    Raises `InputError` for a file that cannot be read, or that none of the pipeline's records is named like.
    """
    if path.is_dir():
        return registered_in(FolderRegistry(path))
    text, record = _read(path)
    subjects = [
        subject
        for subject in subjects_of(pipeline)
        if _record_name(json.loads(subject.schema)) == record
    ]
    if len(subjects) != 1:
        names = ", ".join(
            str(_record_name(json.loads(subject.schema))) for subject in subjects_of(pipeline)
        )
        raise InputError(
            f"{path} has a record {record}, and the pipeline {'several' if subjects else 'none'} of that name",
            f"Its records are {names}; call the record as the one that it is to be compared with",
        )
    return lambda subject: [text] if subject == subjects[0] else []


def _read(path: Path) -> tuple[str, str]:
    try:
        text = path.read_text(encoding="utf-8")
        name = _record_name(json.loads(text))
    except OSError as error:
        raise InputError(
            f"{path} cannot be read: {error.strerror}", "Give a folder or a file of schemas"
        ) from None
    except ValueError as error:
        raise InputError(
            f"{path} is not JSON: {error}", "Give the file of an Avro schema"
        ) from None
    if name is None:
        raise InputError(f"{path} is not an Avro record", "Give the file of an Avro schema")
    return text, name


def _record_name(schema: Any) -> str | None:
    """Without its namespace."""
    name = schema.get("name") if isinstance(schema, dict) else None
    return name.rpartition(".")[2] if isinstance(name, str) else None
