"""Renders dead letters and their groups as JSON and as text, and exports them to files."""

import base64
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from stream_app.dead_letters.dead_letter_reader import DeadLetter, DeadLetterRef
from stream_app.dead_letters.groups import DeadLetterGroup
from stream_app.dead_letters.index import IndexEntry
from stream_app.error_codes import ERROR_CODES, UNREADABLE, Stage
from stream_app.errors import OutputError
from stream_app.formatting import duration, iso_time
from stream_app.headers import ERROR_STACKTRACE, HEADER_PREFIX, ORIGINAL_SIZE
from stream_app.transfer.progress import ProgressReporter
from stream_app.transfer.record_rendering import json_text, sanitize_for_terminal

# Characters of a value in text output, and a quarter as many bytes in hexadecimal.
_MAX_CHARACTERS = 4000
_BYTES_PER_LINE = 16

# Words for the values in `DeadLetterGroup.top`.
_TOP_LABELS = {"source": "from", "key": "key", "schema_version": "schema"}


def origin_text(ref: DeadLetterRef) -> str:
    """Return the origin of a record, e.g. "flights.raw[2]@77"."""
    return f"{ref.origin.topic}[{ref.origin.partition}]@{ref.origin.offset}"


def entry_json(entry: IndexEntry, state: str) -> bytes:
    """Return a line of `dead-letters list --json`."""
    return orjson.dumps(
        {
            "error_id": entry.ref.error_id,
            "state": state,
            "dead_letter": _dlq_position(entry.ref),
            "origin": entry.ref.origin._asdict()
            | {"timestamp": iso_time(entry.original_timestamp)},
            "timestamp": iso_time(entry.timestamp),
            "key": None if entry.stage == Stage.INGEST else json_text(entry.key),
            "source_key": json_text(entry.key) if entry.stage == Stage.INGEST else None,
            "event_id": entry.event_id,
            "size": entry.size,
            "group": entry.group,
            "code": entry.code,
            "class": entry.error_class,
            "stage": entry.stage,
            "message": entry.message,
            "attempts": entry.attempts,
            "first_failed": iso_time(entry.first_failed),
            "last_failed": iso_time(entry.last_failed),
            "model_version": entry.model_version,
            "schema_version": entry.schema_version,
            "app_version": entry.app_version,
            "replay_count": entry.replay_count,
            "replay_id": entry.replay_id,
        }
    )


def entry_line(entry: IndexEntry, state: str) -> bytes:
    """Return a line of `dead-letters list`."""
    suffix = f"  [{state}]" if state != "open" else ""
    time = iso_time(entry.timestamp)[:19] + "Z"
    key = _key_text(entry.key)
    if entry.stage == Stage.INGEST:
        key = f"key in the source {key}"
    parts = (time, entry.ref.error_id, origin_text(entry.ref), key)
    return sanitize_for_terminal(
        f"{'  '.join(parts)}  {entry.code}: {entry.message}{suffix}"
    ).encode()


def group_object(group: DeadLetterGroup) -> dict[str, Any]:
    """Return an element of `dead-letters groups --json`."""
    newest = group.newest
    return {
        "group": group.fingerprint,
        "code": group.code,
        "class": group.error_class,
        "stage": group.stage,
        "message": newest.message,
        "remedy": group.remedy,
        "count": group.count,
        "open": group.open,
        "outcomes": dict(group.outcomes),
        "first_seen": iso_time(group.first_seen),
        "last_seen": iso_time(group.last_seen),
        "last_hour": group.last_hour,
        "hour_before": group.hour_before,
        "top": {name: top._asdict() for name, top in group.top.items()},
        "sample": {"error_id": newest.ref.error_id, "origin": newest.ref.origin._asdict()},
    }


def group_lines(group: DeadLetterGroup, now: int) -> Iterator[str]:
    """Yield the lines of a group in `dead-letters groups`; `now` is in Unix milliseconds."""
    newest = group.newest
    closed = "".join(f", {count:,} {state}" for state, count in sorted(group.outcomes.items()))
    yield (
        f"{group.fingerprint}  {group.code} ({group.error_class}, {group.stage})  "
        f"{group.open:,} open{closed}"
    )
    example = f"{newest.ref.error_id} at {origin_text(newest.ref)}"
    yield f"    {sanitize_for_terminal(newest.message)}, e.g. {example}"
    yield (
        f"    first {_age(group.first_seen, now)}, last {_age(group.last_seen, now)}; "
        f"{group.last_hour:,} in the last hour, {group.hour_before:,} in the one before"
    )
    top = ", ".join(
        f"{_TOP_LABELS[name]} {sanitize_for_terminal(one.value)} {one.share:.0%}"
        for name, one in group.top.items()
    )
    yield f"    mostly {top}"
    yield f"    {group.remedy}"


def dead_letter_json(dead_letter: DeadLetter) -> bytes:
    """Return a line of `dead-letters show --json`.

    `value` is text or base64; `record` has the decoded fields, or is null.
    """
    return orjson.dumps(
        {
            **position_object(dead_letter),
            "key": json_text(dead_letter.key),
            "value": json_text(dead_letter.value),
            "record": _record_json(dead_letter),
            "headers": dead_letter.header_texts,
        }
    )


def dead_letter_lines(dead_letter: DeadLetter) -> list[bytes]:
    """Return the lines of `dead-letters show`: failure, headers, decoded value, bytes."""
    return [line.encode() for line in _lines(dead_letter)]


def position_object(dead_letter: DeadLetter) -> dict[str, Any]:
    """Return error id, position, origin and time of a dead letter as a JSON object."""
    ref = dead_letter.ref
    return {
        "error_id": ref.error_id,
        "dead_letter": _dlq_position(ref),
        "origin": ref.origin._asdict(),
        "timestamp": iso_time(dead_letter.timestamp),
    }


def _dlq_position(ref: DeadLetterRef) -> dict[str, Any]:
    return {"topic": ref.kind, "partition": ref.partition, "offset": ref.offset}


def _lines(dead_letter: DeadLetter) -> Iterator[str]:
    ref, headers = dead_letter.ref, dead_letter.header_texts
    position = f"{ref.kind}[{ref.partition}]@{ref.offset}"
    yield f"{ref.error_id}  {origin_text(ref)}, dead letter {position}"
    yield sanitize_for_terminal(
        f"  {dead_letter.code} ({dead_letter.error_class}, {dead_letter.stage}): "
        f"{dead_letter.message}"
    )
    known = ERROR_CODES.get(dead_letter.code)
    if known is not None:
        yield f"  {known.remedy}"
    failure = {name: text for name, text in headers.items() if name.startswith(HEADER_PREFIX)}
    stack_trace = failure.get(ERROR_STACKTRACE, "")
    yield "headers of the failure"
    yield from _table(
        {name: text for name, text in failure.items() if name != ERROR_STACKTRACE and text}
    )
    if stack_trace:
        yield "stack trace"
        yield from (f"  {sanitize_for_terminal(line)}" for line in stack_trace.splitlines())
    yield "headers of the producer"
    others = {name: text for name, text in headers.items() if name not in failure}
    yield from _table(others) or ["  none"]
    name = "key in the source" if dead_letter.is_of_ingest else "key"
    yield sanitize_for_terminal(f"{name}: {_key_text(dead_letter.key)}")
    yield from _value_lines(dead_letter)


def _record_json(dead_letter: DeadLetter) -> Any:
    if dead_letter.record is None:
        return None
    # orjson rejects deeply nested values.
    try:
        return orjson.Fragment(orjson.dumps(dead_letter.record, default=_latin_1))
    except TypeError:
        return None


def _value_lines(dead_letter: DeadLetter) -> Iterator[str]:
    value = dead_letter.value
    if value is None:
        size = dead_letter.header_texts.get(ORIGINAL_SIZE)
        if dead_letter.code == UNREADABLE:
            yield "value: unknown, as the batch cannot be decoded"
        elif size is None:
            yield "value: null"
        else:
            yield f"value: {size} bytes, too large to be stored; read it at its origin"
        return
    if dead_letter.record is not None:
        yield "value, decoded"
        yield from _shortened(_pretty_record(dead_letter))
    yield f"value, {len(value):,} bytes"
    try:
        yield from _shortened(value.decode())
    except UnicodeDecodeError:
        yield from _hexadecimal(value)


def _pretty_record(dead_letter: DeadLetter) -> str:
    options = orjson.OPT_INDENT_2
    try:
        return orjson.dumps(dead_letter.record, default=_latin_1, option=options).decode()
    except TypeError:
        return "(nested too deeply)"


def _latin_1(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    raise TypeError


def _shortened(text: str) -> Iterator[str]:
    yield from (
        f"  {sanitize_for_terminal(line)}" for line in text[:_MAX_CHARACTERS].splitlines() or [""]
    )
    if len(text) > _MAX_CHARACTERS:
        yield f"  ... {len(text) - _MAX_CHARACTERS:,} more characters with --json"


def _hexadecimal(content: bytes) -> Iterator[str]:
    limit = _MAX_CHARACTERS // 4
    for start in range(0, min(len(content), limit), _BYTES_PER_LINE):
        row = content[start : start + _BYTES_PER_LINE]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        yield f"  {start:06x}  {row.hex(' '):<{3 * _BYTES_PER_LINE - 1}}  {text}"
    if len(content) > limit:
        yield f"  ... {len(content) - limit:,} more bytes with --json"


def _table(rows: Mapping[str, str]) -> list[str]:
    width = max(map(len, rows), default=0)
    return [sanitize_for_terminal(f"  {name:<{width}}  {text}") for name, text in rows.items()]


def _key_text(key: bytes | None) -> str:
    return "null" if key is None else key.decode("utf-8", "backslashreplace")


def _age(time: int, now: int) -> str:
    return f"{duration(max(0, now - time) / 1000)} ago"


def export_dead_letters(
    dead_letters: Iterable[DeadLetter], to: Path, progress: ProgressReporter, *, raw: bool
) -> int:
    """Write dead letters to a new file; an incomplete file is deleted.

    Args:
        to: path of the file, which must not exist.
        progress: takes the number of dead letters written.
        raw: write the values alone, separated by line breaks, instead of JSON lines. The file of
            one dead letter then has exactly its bytes.

    Returns:
        The number of dead letters written.

    Raises:
        OutputError: the file exists already or cannot be written.
    """
    try:
        file = to.open("xb")
    except FileExistsError:
        raise OutputError(f"{to} exists already", "Give the name of a new file") from None
    except OSError as error:
        raise _unwritable(to, error) from None
    count = 0
    try:
        with file:
            for count, dead_letter in enumerate(dead_letters, start=1):
                if not raw:
                    file.write(export_line(dead_letter) + b"\n")
                else:
                    file.write((b"\n" if count > 1 else b"") + (dead_letter.value or b""))
                progress.update(count, count)
    except BaseException as error:
        to.unlink(missing_ok=True)
        raise (_unwritable(to, error) if isinstance(error, OSError) else error) from None
    return count


def export_line(dead_letter: DeadLetter) -> bytes:
    """Return a dead letter as a JSON object with key, value and header values in base64."""
    content = {
        "key": _base64(dead_letter.key),
        "value": _base64(dead_letter.value),
        "headers": [[name, _base64(value)] for name, value in dead_letter.headers],
    }
    return orjson.dumps(position_object(dead_letter) | content)


def _base64(content: bytes | None) -> str | None:
    return None if content is None else base64.b64encode(content).decode()


def _unwritable(to: Path, error: OSError) -> OutputError:
    return OutputError(
        f"{to} cannot be written: {error.strerror or error}",
        "Name a file in a folder with free disk space",
    )
