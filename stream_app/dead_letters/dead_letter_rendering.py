"""Dead letters as JSON for programs and as text for people."""

import base64
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from stream_app.dead_letters.dead_letter_record import DeadLetter, DeadLetterRef
from stream_app.dead_letters.groups import DeadLetterGroup
from stream_app.dead_letters.index import IndexEntry
from stream_app.error_codes import ERROR_CODES
from stream_app.formatting import duration, iso_time
from stream_app.headers import DEAD_LETTER_HEADERS, ERROR_STACKTRACE, ORIGINAL_SIZE
from stream_app.transfer.record_rendering import harmless, json_text

_SHOWN = 4000  # characters of a value, for people
_ROW = 16  # bytes of a line of hexadecimal


def place(ref: DeadLetterRef) -> str:
    """Where the record came from, e.g. "flights.raw[2]@77"."""
    return f"{ref.origin.topic}[{ref.origin.partition}]@{ref.origin.offset}"


def entry_json(entry: IndexEntry, state: str) -> bytes:
    """A line of `list --json`; `state` is what became of it."""
    return orjson.dumps(
        {
            "error_id": entry.ref.error_id,
            "state": state,
            "dead_letter": {
                "topic": entry.ref.kind,
                "partition": entry.ref.partition,
                "offset": entry.ref.offset,
            },
            "origin": entry.ref.origin._asdict()
            | {"timestamp": iso_time(entry.original_timestamp)},
            "timestamp": iso_time(entry.timestamp),
            "key": json_text(entry.key),
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
    """A line of `list`."""
    shown = f"  [{state}]" if state != "open" else ""
    key = "null" if entry.key is None else entry.key.decode("utf-8", "backslashreplace")
    parts = (iso_time(entry.timestamp)[:19] + "Z", entry.ref.error_id, place(entry.ref), key)
    return harmless(f"{'  '.join(parts)}  {entry.code}: {entry.message}{shown}").encode()


def group_object(group: DeadLetterGroup) -> dict[str, Any]:
    """One of `groups --json`."""
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
        "sample": _sample(newest.ref),
    }


def group_lines(group: DeadLetterGroup, now: int) -> Iterator[str]:
    """A group for people; `now` is epoch milliseconds."""
    newest = group.newest
    done = ", ".join(f"{count:,} {outcome}" for outcome, count in sorted(group.outcomes.items()))
    yield (
        f"{group.fingerprint}  {group.code} ({group.error_class}, {group.stage})  {group.open:,} open"
        + (f", {done}" if done else "")
    )
    yield f"    {harmless(newest.message)}, e.g. {newest.ref.error_id} at {place(newest.ref)}"
    yield (
        f"    first {_ago(group.first_seen, now)}, last {_ago(group.last_seen, now)}; "
        f"{group.last_hour:,} in the last hour, {group.hour_before:,} in the one before"
    )
    tops = ", ".join(
        f"{_NAMES[name]} {harmless(top.value)} {top.share:.0%}" for name, top in group.top.items()
    )
    yield f"    mostly {tops}"
    yield f"    {group.remedy}"


def letter_json(letter: DeadLetter) -> bytes:
    """A line of `show --json`: `value` as text or base64, `record` decoded or null."""
    return orjson.dumps(
        {
            **_named(letter),
            "key": json_text(letter.key),
            "value": json_text(letter.value),
            "record": _record(letter),
            "headers": letter.facts,
        }
    )


def export_line(letter: DeadLetter) -> bytes:
    """A line of `export`: key, value and headers byte for byte, in base64."""
    headers = [[name, _base64(content)] for name, content in letter.headers]
    content = {"key": _base64(letter.key), "value": _base64(letter.value), "headers": headers}
    return orjson.dumps(_named(letter) | content)


def letter_lines(letter: DeadLetter) -> list[bytes]:
    """A letter for people: what failed and where, the decoded value, the bytes, all headers."""
    return [line.encode() for line in _letter(letter)]


_NAMES = {"source": "from", "key": "key", "schema_version": "schema"}


def _letter(letter: DeadLetter) -> Iterator[str]:
    known = ERROR_CODES.get(letter.code)
    ref = letter.ref
    yield f"{ref.error_id}  {place(ref)}, as a dead letter {ref.kind}[{ref.partition}]@{ref.offset}"
    yield harmless(f"  {letter.code} ({letter.error_class}, {letter.stage}): {letter.message}")
    if known is not None:
        yield f"  {known.remedy}"
    yield "headers of the failure"
    ours = {name: text for name, text in letter.facts.items() if name in DEAD_LETTER_HEADERS}
    yield from _table(
        {name: text for name, text in ours.items() if name != ERROR_STACKTRACE and text}
    )
    if ours.get(ERROR_STACKTRACE):
        yield "stack trace"
        yield from (f"  {harmless(line)}" for line in ours[ERROR_STACKTRACE].splitlines())
    yield "headers that it came with"
    yield from _table({name: text for name, text in letter.facts.items() if name not in ours}) or [
        "  none"
    ]
    yield harmless(f"key: {_plain(letter.key)}")
    yield from _value_lines(letter)


def _sample(ref: DeadLetterRef) -> dict[str, Any]:
    return {"error_id": ref.error_id, "origin": ref.origin._asdict()}


def _named(letter: DeadLetter) -> dict[str, Any]:
    ref = letter.ref
    return {
        "error_id": ref.error_id,
        "dead_letter": {"topic": ref.kind, "partition": ref.partition, "offset": ref.offset},
        "origin": ref.origin._asdict(),
        "timestamp": iso_time(letter.timestamp),
    }


def _record(letter: DeadLetter) -> Any:
    if letter.record is None:
        return None
    try:
        return orjson.Fragment(orjson.dumps(letter.record, default=_latin))
    except TypeError:  # nested deeper than JSON can be written
        return None


def _value_lines(letter: DeadLetter) -> Iterator[str]:
    if letter.value is None:
        size = letter.facts.get(ORIGINAL_SIZE)
        yield (
            "value: null"
            if size is None
            else f"value: {size} bytes, too large to be kept; they are at the origin"
        )
        return
    if letter.record is not None:
        yield "value, decoded"
        yield from _cut(_pretty(letter), "  ")
    yield f"value, {len(letter.value):,} bytes"
    text = _utf8(letter.value)
    yield from _cut(text, "  ") if text is not None else _hexadecimal(letter.value)


def _pretty(letter: DeadLetter) -> str:
    try:
        return orjson.dumps(letter.record, default=_latin, option=orjson.OPT_INDENT_2).decode()
    except TypeError:
        return "(nested too deeply to be shown)"


def _latin(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    raise TypeError


def _cut(text: str, indent: str) -> Iterator[str]:
    yield from (indent + harmless(line) for line in text[:_SHOWN].splitlines() or [""])
    if len(text) > _SHOWN:
        yield f"{indent}... {len(text) - _SHOWN:,} more characters, which --json shows"


def _hexadecimal(content: bytes) -> Iterator[str]:
    for start in range(0, min(len(content), _SHOWN // 4), _ROW):
        row = content[start : start + _ROW]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        yield f"  {start:06x}  {row.hex(' '):<{3 * _ROW - 1}}  {text}"
    if len(content) > _SHOWN // 4:
        yield f"  ... {len(content) - _SHOWN // 4:,} more bytes, which --json shows"


def _table(rows: Mapping[str, str]) -> list[str]:
    width = max(map(len, rows), default=0)
    return [harmless(f"  {name:<{width}}  {text}") for name, text in rows.items()]


def _utf8(content: bytes) -> str | None:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None


def _plain(content: bytes | None) -> str:
    return "null" if content is None else content.decode("utf-8", "backslashreplace")


def _base64(content: bytes | None) -> str | None:
    return None if content is None else base64.b64encode(content).decode()


def _ago(time: int, now: int) -> str:
    return f"{duration(max(0, now - time) / 1000)} ago"
