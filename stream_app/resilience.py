"""What a pipeline declares about failures: what is tried again, when to stop reading, and what to serve instead."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from stream_app.records import Features, Score


class TransientError(Exception):
    """Raised by a cleaning step, the features or a model when something outside did not answer.

    The record is tried again later, as it is after any `OSError`, of which Python's `ConnectionError` and
    `TimeoutError` are kinds.
    """


TRANSIENT = (TransientError, OSError)
"""What says that another try may succeed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How often and for how long a record is tried again that failed for a reason outside; then it is a dead letter.

    The delay doubles from try to try, up to the longest; up to half of it is taken off by chance, so that what failed
    together does not come again together. Other records go on meanwhile.
    """

    attempts: int = 6
    """How often it is tried in all; 1 tries nothing again."""
    first_delay: timedelta = timedelta(seconds=1)
    """Before the second try."""
    longest_delay: timedelta = timedelta(minutes=1)
    """Between any two."""
    give_up_after: timedelta = timedelta(minutes=10)
    """After the first failure, however many tries are left."""
    waiting: int = 1_000
    """How many records of a partition may wait; what fails beyond that is a dead letter at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """When to stop reading a partition's events because most of them fail, and not pour a topic into dead letters.

    After `pause` a few events are tried. If enough of them pass, reading goes on; else it pauses again, for twice as
    long each time. Where what fails is the events' own fault, waiting does not mend it: then four times as many are
    tried each time instead. Labels are read all the while.
    """

    consecutive: int = 500
    """Events that fail one after the other."""
    ratio: float = 0.8
    """Share of failures among the last `window` events."""
    window: int = 2_000
    """Events over which the ratio is taken."""
    pause: timedelta = timedelta(seconds=5)
    """Before the first try."""
    longest_pause: timedelta = timedelta(minutes=1)
    """Before any."""
    probe: int = 20
    """Events that are tried first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fallback:
    """What is served when the model fails: raises, gives no score, or takes longer than its budget.

    The last version that served well, then `score`. Such predictions are marked `degraded`; what is counted and alarmed
    is the same for both. A version that fails five times in a row rests for ten seconds.
    """

    last_good: bool = True
    """Try the last version that scored events of the partition without failing for any of a batch."""
    score: Score | Callable[[Features], Score] | None = None
    """A probability, as the share of positives; or one for each class, or a number, as the label is; or a function of
    the features. None makes a dead letter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What processing one record may cost: decoding, cleaning, features and prediction, or learning one example.

    A record that exceeds them ends the worker; after its restart the record is a dead letter, and the others go on.
    """

    seconds: float = 2.0
    """Longest time, in seconds."""
    memory_mb: int = 512
    """Most memory on top of what the worker has, in MiB."""
    predict_seconds: float | None = None
    """Longest time that a prediction may take to be used, in seconds; one that takes longer has failed, and ends
    nothing. None sets no limit."""
