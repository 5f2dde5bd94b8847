"""Slot of a journal: the record that one partition is processing."""

from collections.abc import Iterable, Iterator
from threading import get_native_id
from time import monotonic_ns
from typing import Any

from stream_app.records import Record

# Words of a slot. The offset is stored plus one, because 0 means none.
OFFSET_WORD, STARTED_WORD, INPUT_WORD, PARTITION_WORD, THREAD_WORD, REASON_WORD = range(6)


class JournalSlot:
    """Slot of one partition in a journal; used by one thread.

    Args:
        words: 64-bit words of the journal.
        first: index of the slot's first word.
        partition: number of the partition.
    """

    def __init__(self, words: Any, first: int, partition: int) -> None:
        self._words = words
        self._first = first
        words[first + PARTITION_WORD] = partition

    def journaled(self, number: int, records: Iterable[Record]) -> Iterator[Record]:
        """Yield records of an input, each written to the slot before it is processed.

        The slot is cleared after the last record. It keeps a record whose processing raises.
        """
        words, first = self._words, self._first
        # Objects, because converting the indexes for each record would take time.
        offset_word: Any = first + OFFSET_WORD
        started_word: Any = first + STARTED_WORD
        words[first + INPUT_WORD] = number
        words[first + THREAD_WORD] = get_native_id()
        for record in records:
            _, _, offset, _, _, _, _ = record
            words[started_word] = monotonic_ns()
            words[offset_word] = offset + 1
            yield record
        words[offset_word] = 0
