"""Watermarks of the sources of an input, as completeness records state them."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from stream_app.core.reading.completeness import ALL_SOURCES, Completeness, PartState
from stream_app.core.reading.event_time import NEVER

MAX_SOURCES = 64

PlainPart = Sequence[int | str | None]
"""`PartWatermark` as JSON data."""


class PartWatermark(NamedTuple):
    """Watermark of a part of a source.

    Attributes:
        until: Unix milliseconds, `NEVER` if nothing is known.
        state: None if nothing was said about the part.
    """

    until: int
    state: PartState | None


class SourcePart(NamedTuple):
    """Name of a source, and number of one of its parts."""

    source: str
    part: int


_UNKNOWN = PartWatermark(NEVER, None)


class SourceWatermarks:
    """Watermarks of the parts of all sources of an input.

    Args:
        sources: sources of `as_dict`.

    Attributes:
        merged: True if records of the input are merged from parts, so that their own order says
            nothing.
        held: least watermark of the parts that are open, None if no part is.
        holding: part that has it.
        promised: time until which the input is complete by promises, `NEVER` without any.
    """

    def __init__(self, sources: Mapping[str, Sequence[PlainPart]] | None = None) -> None:
        self._parts: dict[str, list[PartWatermark]] = {
            name: [PartWatermark(*part) for part in parts]  # type: ignore[arg-type]
            for name, parts in (sources or {}).items()
        }
        self._update()

    def set(self, found: Completeness) -> bool:
        """Apply a completeness record; returns False if there are too many sources.

        A source with another number of parts than before is a new one. Else the watermark of a part
        never goes back.
        """
        parts = self._parts.get(found.source)
        if parts is None or len(parts) != found.parts:
            if parts is None and len(self._parts) >= MAX_SOURCES:
                return False
            parts = self._parts[found.source] = [_UNKNOWN] * found.parts
        until = NEVER if found.until is None else found.until
        parts[found.part] = PartWatermark(max(until, parts[found.part].until), found.state)
        self._update()
        return True

    def forget(self, source: str) -> None:
        """Forget a source that no completeness record is written for any more."""
        self._parts.pop(source, None)
        self._update()

    def as_dict(self) -> dict[str, list[PlainPart]]:
        """Return plain data for the changelog."""
        return {name: [tuple(part) for part in parts] for name, parts in self._parts.items()}

    def _update(self) -> None:
        states = {part.state for parts in self._parts.values() for part in parts}
        self.merged = bool(states & {"open", "idle"})
        open_parts = [
            (part.until, SourcePart(name, number))
            for name, parts in self._parts.items()
            if any(part.state in ("open", "idle") for part in parts)
            for number, part in enumerate(parts)
            if part.state in ("open", None)
        ]
        least = min(open_parts, default=None)
        self.held: int | None = None if least is None else least[0]
        self.holding: SourcePart | None = None if least is None else least[1]
        everything = self._parts.get(ALL_SOURCES, [_UNKNOWN])[0].until
        promises = [
            min(part.until for part in parts)
            for name, parts in self._parts.items()
            if name != ALL_SOURCES and all(part.state == "complete" for part in parts)
        ]
        self.promised = everything
        if promises and not open_parts:
            self.promised = max(everything, min(promises))
