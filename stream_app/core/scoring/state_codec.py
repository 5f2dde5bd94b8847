"""Compact encodings of predictions and records in the keyed state of a partition."""

from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from struct import Struct
from typing import Any, NamedTuple

import orjson
from msgspec import msgpack

from stream_app.records import Features, Record, Score, fast_namedtuple
from stream_app.topic_kinds import TopicKind

# Limit of the size of the rows that are kept in the state, as JSON.
MAX_ROW_BYTES = 16_384

# First byte of a single record of a prediction. A packed prediction begins with another one, since
# no event time is that late, and so does the JSON of other single records.
_SINGLE = b"p"
# Event time and row at the start of a packed prediction.
_HEADER = Struct(">qH")
# Number in place of the index of a row that is in the prediction itself.
_OWN_ROW = 2**16 - 1

_encode = msgpack.Encoder().encode
_decode = msgpack.Decoder().decode


class PredictionOrigin(NamedTuple):
    """Properties that many predictions of a scorer have in common.

    Attributes:
        fingerprint: fingerprint of the pipeline that predicted.
        threshold: decision threshold at the prediction, None if the pipeline has none.
        source: kind of the topic of the event.
        event_source: name of the source that it was forwarded from, None without one.
        schema_id: id of the schema with which it was written, as text; None for JSON.
    """

    fingerprint: str
    threshold: float | None
    source: TopicKind
    event_source: str | None = None
    schema_id: str | None = None


class PendingPrediction(NamedTuple):
    """Prediction that waits for its label.

    Attributes:
        event_time: time of the event in Unix milliseconds.
        score: served score.
        model_version: version that made it.
        features: features of the event; None if it must not be learned.
        origin: pipeline that predicted, and where the event came from.
        source_offset: offset of the event in its topic.
    """

    event_time: int
    score: Score
    model_version: int
    features: Features | None
    origin: PredictionOrigin
    source_offset: int


class PredictionRow(NamedTuple):
    """Parts of predictions that are kept once for many of them.

    Attributes:
        names: names of the features, None without features.
    """

    origin: PredictionOrigin
    names: tuple[str, ...] | None


PlainRow = Sequence[Any]
"""A row as JSON data."""

_prediction = fast_namedtuple(PendingPrediction)


class PredictionCodec:
    """Packs predictions as bytes, for memory and changelog alike.

    A packed prediction is its event time (8 bytes), the index of its row in the attribute `rows`
    (2 bytes) and a MessagePack array `[score, version, source offset, value, ...]`. If there is no
    room for more rows, the row itself is the first element, and the index is 65,535. The bytes can
    be unpacked as long as `rows` is kept as well.

    Args:
        rows: rows of `as_list`.

    Attributes:
        rows: rows by index; None where one was dropped.
    """

    def __init__(self, rows: Sequence[PlainRow | None] = ()) -> None:
        self.rows: list[PredictionRow | None] = [None if row is None else _row(row) for row in rows]
        self._indexes: dict[PredictionOrigin, dict[tuple[str, ...] | None, int]] = {}
        self._room = MAX_ROW_BYTES
        for index, row in enumerate(self.rows):
            if row is not None:
                self._indexes.setdefault(row.origin, {})[row.names] = index
                self._room -= _json_size(_plain(row))
        # Indexes of the last origin, because looking it up in each call would take time.
        self._origin: PredictionOrigin | None = None
        self._of_origin: dict[tuple[str, ...] | None, int] = {}

    def as_list(self) -> list[PlainRow | None]:
        """Return the rows as plain data for the changelog."""
        return [None if row is None else _plain(row) for row in self.rows]

    def pack(self, prediction: PendingPrediction) -> bytes:
        """Return the bytes of a prediction; a new row is added to `rows`."""
        event_time, score, version, features, origin, offset = prediction
        if origin is not self._origin:
            self._origin, self._of_origin = origin, self._indexes.setdefault(origin, {})
        names = None if features is None else tuple(features)
        row: int | PlainRow | None = self._of_origin.get(names)
        if row is None:
            row = self._add(PredictionRow(origin, names))
        values = () if features is None else features.values()
        if type(row) is int:
            return _HEADER.pack(event_time, row) + _encode([score, version, offset, *values])
        own = _encode([row, score, version, offset, *values])
        return _HEADER.pack(event_time, _OWN_ROW) + own

    def unpack(self, packed: bytes) -> PendingPrediction:
        """Return the prediction of packed bytes, or of those of a single record."""
        start = _header_start(packed)
        event_time, index = _HEADER.unpack_from(packed, start)
        fields = _decode(packed[start + _HEADER.size :])
        row = _row(fields.pop(0)) if index == _OWN_ROW else self.rows[index]
        if row is None:
            raise ValueError(f"row {index} of the state was dropped")
        score, version, offset, *values = fields
        origin, names = row
        features = None if names is None else dict(zip(names, values, strict=True))
        return _prediction((event_time, score, version, features, origin, offset))

    def without_unused(self, predictions: Iterable[bytes]) -> "PredictionCodec":
        """Return a codec for these predictions without the rows that none of them uses."""
        if len(self.rows) < 2:
            return self
        used = set(map(_row_index, predictions))
        return PredictionCodec(
            [
                _plain(row) if row is not None and index in used else None
                for index, row in enumerate(self.rows)
            ]
        )

    def _add(self, row: PredictionRow) -> int | PlainRow:
        """Add a row and return its index, or the row itself if there is no room for it."""
        plain = _plain(row)
        size = _json_size(plain)
        if size > self._room:
            return plain
        self._room -= size
        index = next((at for at, known in enumerate(self.rows) if known is None), len(self.rows))
        self.rows[index : index + 1] = [row]
        self._of_origin[row.names] = index
        return index


def to_single(packed: bytes) -> bytes:
    """Return the value of a single record of a packed prediction."""
    return _SINGLE + packed


def is_single(value: bytes) -> bool:
    """Return True for the value of `to_single`."""
    return value.startswith(_SINGLE)


def packed_event_time(packed: bytes) -> int:
    """Return the event time of a packed prediction, which takes no rows."""
    time: int = _HEADER.unpack_from(packed, _header_start(packed))[0]
    return time


def record_to_json(record: Record) -> list[Any]:
    """Return a record as JSON data; bytes are base64."""
    topic, partition, offset, timestamp, key, value, headers = record
    texts = [(name, _text(content)) for name, content in headers]
    return [topic, partition, offset, timestamp, _text(key), _text(value), texts]


def record_from_json(content: list[Any]) -> Record:
    """Return the record of `record_to_json`."""
    topic, partition, offset, timestamp, key, value, headers = content
    originals = tuple((name, _bytes(text)) for name, text in headers)
    return Record(topic, partition, offset, timestamp, _bytes(key), _bytes(value), originals)


def _plain(row: PredictionRow) -> PlainRow:
    return tuple(row.origin), row.names


def _row(plain: Sequence[Any]) -> PredictionRow:
    origin, names = plain
    return PredictionRow(PredictionOrigin(*origin), None if names is None else tuple(names))


def _row_index(packed: bytes) -> int:
    """Return the index of a packed prediction's row."""
    index: int = _HEADER.unpack_from(packed, _header_start(packed))[1]
    return index


def _header_start(packed: bytes) -> int:
    return len(_SINGLE) if packed.startswith(_SINGLE) else 0


def _json_size(row: PlainRow) -> int:
    return len(orjson.dumps(row)) + 1


def _text(content: bytes | None) -> str | None:
    return None if content is None else b64encode(content).decode()


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else b64decode(text)
