"""Notices fields that appear in the records of a source, and types that change."""

from collections.abc import Iterator
from typing import Any

from stream_app.core.reading.decoding import Schemas
from stream_app.core.reading.envelopes import Unwrapped
from stream_app.core.reading.selection import SourceDecoder
from stream_app.core.reading.source_values import origin_path
from stream_app.core.reading.validator_checks import mismatch
from stream_app.records import Fields, Record
from stream_app.sources import Source
from stream_app.telemetry.logs import get_logger

log = get_logger(__name__)

# Records whose fields are taken for usual, and the least time between two of the later ones.
_USUAL_RECORDS = 50
_LOOK_MS = 1_000
# The fields of larger records are not worth their memory.
_MAX_BYTES = 100_000
# Beyond these, names of fields are not those of a schema: nothing more is reported.
_MAX_FIELDS = 1_000
_MAX_NAMED = 20


class SourceFields:
    """Fields of a source's records and their types, as far as this worker has looked at them.

    It looks at the fields at the top and at those beside the fields that the pipeline uses. Others
    may be keys of a map, which are no names.

    Args:
        source: declaration of the source.
    """

    def __init__(self, source: Source) -> None:
        self._decoder = SourceDecoder(source)
        self._source = source
        paths = [origin_path(origin) for origin in source.fields.values()]
        parts = [path.split(".") for path in paths if path is not None]
        self._records = {tuple(one[:end]) for one in parts for end in range(1, len(one))}
        self._types: dict[str, set[str]] = {}
        self._looked_at = self._count = 0

    def look(self, record: Record, schemas: Schemas, now: int) -> None:
        """Look at a forwarded record, unless it is soon after another one; log what is new."""
        if len(record.value or b"") > _MAX_BYTES:
            return
        if self._count < _USUAL_RECORDS:
            self._count += 1
            self._new_fields(record, schemas)
        elif not 0 <= now - self._looked_at < _LOOK_MS:
            self._looked_at = now
            self._report(record, schemas)

    def _report(self, record: Record, schemas: Schemas) -> None:
        found = self._new_fields(record, schemas)
        if found:
            log.info(
                "the records of a source have changed",
                source=self._source.source_name,
                topic=record.topic,
                record=f"{record.topic}[{record.partition}]@{record.offset}",
                new=found[:_MAX_NAMED],
                action="No action needed: what the pipeline does not use is ignored, and what it "
                "cannot read becomes dead letters",
            )

    def _new_fields(self, record: Record, schemas: Schemas) -> list[str]:
        """Return the fields of a record that no other one had, or with another type."""
        decoded = self._decoder.decode(record, schemas)
        if not isinstance(decoded, Unwrapped) or len(self._types) >= _MAX_FIELDS:
            return []
        new = []
        for path, kind in self._fields(decoded.row):
            known = self._types.setdefault(path, set())
            if kind not in known:
                usual = f" instead of {' or '.join(sorted(known))}" if known else ""
                new.append(f"{path}: {kind}{usual}")
                known.add(kind)
        return new

    def _fields(self, row: Fields, outer: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
        """Yield path and type of each field that is not null."""
        for name, value in row.items():
            path = (*outer, name)
            if value is not None:
                yield ".".join(path), _type_name(value)
            if type(value) is dict and path in self._records:
                yield from self._fields(value, path)


def _type_name(value: Any) -> str:
    """Return the name of a type; JSON does not tell whole numbers from others."""
    name = mismatch("", value).actual
    return "number" if name == "integer" else name
