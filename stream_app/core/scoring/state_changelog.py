"""Records of the changelog of a partition's state: keys, values, and their only reader.

`docs/state.md` describes the records and why they restore the state. Entries, blocks and the floor
contain identities of events: the text of (K, event id), which is the event id where K is it.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson
from msgspec import MsgspecError, msgpack

from stream_app.core.reading.record_reader import LabelEvent
from stream_app.core.reading.selection import find_header
from stream_app.core.scoring.state_codec import is_single, record_from_json, record_to_json
from stream_app.headers import SOURCE, parse_source
from stream_app.records import Record, Target, fast_namedtuple
from stream_app.topic_kinds import TopicKind

TOPIC: TopicKind = "score.state"

# Format of the records below; a state in another one is not read.
STATE_FORMAT = 6
OTHER_FORMAT_REMEDY = (
    "Run the version that wrote it, or start over: `stream-app reset PIPELINE`, or another name"
)
OTHER_PLACEMENT_REMEDY = (
    "Declare the former partitioner, or start over: `stream-app reset PIPELINE`, or another name"
)
OTHER_IDENTITY_REMEDY = (
    "Give the pipeline its former key, or start over: `stream-app reset PIPELINE`, or another name"
)

# Key of the record that completes a transaction: record counts, watermarks and positions.
COUNTS_KEY = b"t"
FLOOR_KEY = b"f"
BLOCK_PREFIX = b"b"
ENTRY_PREFIX = b"e"
RETRY_PREFIX = b"r"

_JOINED = b'["j",'
_WAITING = '["w",'

CompactEntry = bytes | int | str
"""Entry in memory: packed prediction, event time of a joined event, or another encoded entry."""


class StateFormatError(Exception):
    """The changelog has another format."""


class IdentityChangedError(Exception):
    """The changelog identifies events by K and event id, and the pipeline by the event id alone.

    Or the other way round: the pipeline got another key.
    """


class PlacementChangedError(Exception):
    """The changelog was written with another partitioner, whose name is the argument."""


def other_identity(*, keyed: bool) -> str:
    """Return what a changelog has that does not fit to a pipeline.

    Args:
        keyed: True if the pipeline identifies events by K and event id.
    """
    if keyed:
        return "its key was the event id, and is another one now"
    return "its key was not the event id, and is now"


class RestoreFloor(NamedTuple):
    """Prediction or joined event that was removed last; predictions in blocks up to it are gone.

    Attributes:
        event_time: time of the event in Unix milliseconds.
        identity: its identity.
    """

    event_time: int
    identity: str

    def encode(self) -> bytes:
        """Return the value of the record under `FLOOR_KEY`."""
        return orjson.dumps(tuple(self))


class JoinedEvent(NamedTuple):
    """Event that has its label; kept to recognise duplicates.

    Attributes:
        event_time: time of the event in Unix milliseconds.
    """

    event_time: int

    def encode(self) -> bytes:
        """Return the value of its single record."""
        return b'["j",%d]' % self.event_time


class AssumedEvent(NamedTuple):
    """Event whose label was assumed as none came; kept to recognise a label that contradicts.

    Attributes:
        event_time: time of the event in Unix milliseconds.
    """

    event_time: int

    def encode(self) -> bytes:
        """Return the value of its single record."""
        return b'["a",%d]' % self.event_time


class WaitingLabel(NamedTuple):
    """Label that came before its event.

    Attributes:
        label: the label.
        label_time: time at which it became known in Unix milliseconds.
        record: its record, unchanged.
    """

    label: Target
    label_time: int
    record: Record

    @property
    def source(self) -> str | None:
        """Name of its source, None if it was sent directly."""
        position = parse_source(find_header(self.record.headers, SOURCE))
        return None if position is None else position.source

    def of_event(self, event_id: str) -> LabelEvent:
        """Return the label as it was read, given the id of its event."""
        return LabelEvent(event_id, self.label, self.label_time, self.source)

    def encode(self) -> bytes:
        """Return the value of its single record."""
        return orjson.dumps(("w", self.label, self.label_time, record_to_json(self.record)))


class CheckpointChange(NamedTuple):
    """Checkpoint that completes a transaction, as plain data."""

    value: dict[str, Any]


class FloorChange(NamedTuple):
    """Restore floor that was moved."""

    floor: RestoreFloor


class BlockChange(NamedTuple):
    """Block that was written, or deleted if it has no predictions.

    Attributes:
        last: last prediction by event time and identity, None if the block was deleted.
        ids: identities of the events.
        packed: packed predictions, in the order of the ids.
    """

    number: int
    last: RestoreFloor | None
    ids: Sequence[str]
    packed: Sequence[bytes]


class EntryChange(NamedTuple):
    """Entry that has a single record now, or was removed if it is None."""

    identity: str
    entry: CompactEntry | None


class RetryChange(NamedTuple):
    """Event that waits for a retry under a name, or does no longer if the value is None."""

    name: bytes
    value: bytes | None


_encode = msgpack.Encoder().encode
_decode_block = msgpack.Decoder(tuple[int, str, list[str], list[bytes]]).decode
_entry_change = fast_namedtuple(EntryChange)

StateChange = CheckpointChange | FloorChange | BlockChange | EntryChange | RetryChange


def decode_text(text: str) -> AssumedEvent | WaitingLabel:
    """Return an entry of a compact text, which is the value of its single record.

    >>> decode_text('["a",7]')
    AssumedEvent(event_time=7)
    """
    if not is_waiting(text):
        return AssumedEvent(int(text[5:-1]))
    _, label, label_time, record = orjson.loads(text)
    return WaitingLabel(label, label_time, record_from_json(record))


def is_waiting(text: str) -> bool:
    """Return True if a compact text is a waiting label."""
    return text.startswith(_WAITING)


def encode_block(last: RestoreFloor, ids: Sequence[str], packed: Sequence[bytes]) -> bytes:
    """Return the value of a block.

    >>> block = encode_block(RestoreFloor(2, "b"), ["a", "b"], [b"x", b"y"])
    >>> decode_change(b"b7", block)[1:]
    (RestoreFloor(event_time=2, identity='b'), ['a', 'b'], [b'x', b'y'])
    """
    return _encode((*last, ids, packed))


def decode_change(key: bytes | None, value: bytes | None) -> StateChange | None:
    """Return the change that a record of the changelog stands for, None for an unknown key.

    >>> decode_change(b"b7", None)
    BlockChange(number=7, last=None, ids=(), packed=())
    >>> decode_change(b"ea", None)
    EntryChange(identity='a', entry=None)

    Raises:
        StateFormatError: another version of this program has written a block.
    """
    if key is None:
        return None
    prefix = key[:1]
    if prefix == ENTRY_PREFIX:
        # Fast path: most records of a restore are joined events.
        if value is not None and value[:5] == _JOINED:
            return _entry_change((key[1:].decode(), int(value[5:-1])))
        return EntryChange(key[1:].decode(), None if value is None else _compact(value))
    if prefix == BLOCK_PREFIX:
        if value is None:
            return BlockChange(int(key[1:]), None, (), ())
        try:
            time, identity, ids, packed = _decode_block(value)
        except MsgspecError as error:
            raise StateFormatError(f"block {key[1:].decode()}: {error}") from error
        return BlockChange(int(key[1:]), RestoreFloor(time, identity), ids, packed)
    if prefix == RETRY_PREFIX:
        return RetryChange(key[1:], value)
    if value is None:
        return None
    if key == FLOOR_KEY:
        return FloorChange(RestoreFloor(*orjson.loads(value)))
    return CheckpointChange(orjson.loads(value)) if key == COUNTS_KEY else None


def _compact(value: bytes) -> CompactEntry:
    """Return the compact form of the value of a single record."""
    return value if is_single(value) else value.decode()
