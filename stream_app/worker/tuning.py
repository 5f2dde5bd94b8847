"""How the interpreter and its memory are set for a worker: many threads, much that stays, batches that come and go."""

import ctypes
import gc
import sys
from contextlib import suppress

SWITCH_SECONDS = 0.001  # that a thread coming back from librdkafka, as a commit does often, waits for one that computes
_ARENA_MAX = -8  # glibc's M_ARENA_MAX
_ARENAS = 2


def bound_arenas() -> None:
    """Let all threads share two heaps, where the C library is glibc; to be called before there are threads.

    By default each of the threads, three for each partition's producer alone, gets one of its own, and keeps it.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_ARENA_MAX, _ARENAS)


def spare_the_interpreter() -> None:
    """What is loaded stays, and batches are freed without looking for cycles; threads take turns more often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 20, 50)  # saves a tenth of CPU
    sys.setswitchinterval(SWITCH_SECONDS)
