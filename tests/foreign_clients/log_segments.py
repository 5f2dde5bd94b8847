"""Compression of the batches in a broker's log, which consumers do not see."""

import struct
from collections.abc import Iterator
from pathlib import Path

from tests.foreign_clients.producers import CODECS

# Base offset, length, leader epoch, magic, checksum, attributes.
_HEADER = struct.Struct(">qiibIh")
_LENGTH_END = 12
_CODEC_BITS = 0b111


def batch_codecs(log_folder: Path, topic: str, partition: int) -> Iterator[tuple[int, str]]:
    """Yield the base offset and the codec of each batch of a partition.

    Args:
        log_folder: folder of the broker's data, or one above it.
        topic: name of the topic.
        partition: number of the partition.
    """
    (segment,) = log_folder.rglob(f"{topic}-{partition}/{0:020}.log")
    data = segment.read_bytes()
    place = 0
    while place + _HEADER.size <= len(data):
        offset, length, _, magic, _, attributes = _HEADER.unpack_from(data, place)
        if magic != 2:
            # The broker has allocated the rest of the file.
            return
        yield offset, CODECS[attributes & _CODEC_BITS]
        place += _LENGTH_END + length
