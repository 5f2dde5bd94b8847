"""Declaration of how a pipeline handles failures: retries, circuit breaker, fallback, limits."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from stream_app.records import Features, Score


class TransientError(Exception):
    """Raised by a cleaning step, the feature function or a model if an external system fails.

    The event is retried later, as after any `OSError`, including Python's `ConnectionError` and
    `TimeoutError`.
    """


TRANSIENT = (TransientError, OSError)
"""Exceptions after which an event is retried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """Retries of an event after a transient failure; when they are exhausted, it is dead-lettered.

    The delay doubles with every attempt, up to `max_delay`. Up to half of it is subtracted at
    random, so that events that failed together are not retried together. Other events are
    processed in the meantime.

    >>> Retry(max_attempts=3).initial_delay
    datetime.timedelta(seconds=1)
    """

    max_attempts: int = 6
    """Number of attempts, including the first. 1 disables retries."""
    initial_delay: timedelta = timedelta(seconds=1)
    """Delay before the second attempt."""
    max_delay: timedelta = timedelta(minutes=1)
    """Longest delay between two attempts."""
    give_up_after: timedelta = timedelta(minutes=10)
    """Time after the first failure at which no further attempt is made."""
    max_waiting: int = 1_000
    """Number of events of a partition that may wait for a retry. Further failing events become
    dead letters immediately."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """Circuit breaker of a partition: stops reading events while most of them fail.

    It prevents that a whole topic is moved to the dead letters during an outage. After `pause`,
    a few events are processed as a probe. If enough of them succeed, reading resumes; otherwise
    the pause is doubled. If the events themselves are at fault, waiting cannot help, and the
    number of probed events is multiplied by four instead. Labels are read at all times.

    >>> Breaker(ratio=0.5, window=1_000).pause
    datetime.timedelta(seconds=5)
    """

    consecutive: int = 500
    """Number of consecutive failures that opens the breaker."""
    ratio: float = 0.8
    """Share of failures among the last `window` events that opens the breaker, in (0, 1]."""
    window: int = 2_000
    """Number of events over which `ratio` is computed."""
    pause: timedelta = timedelta(seconds=5)
    """Time from opening to the first probe."""
    max_pause: timedelta = timedelta(minutes=1)
    """Longest time between two probes."""
    probe: int = 20
    """Number of events in the first probe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fallback:
    """Replacement of a failing model: one that raises, returns no score, or exceeds its budget.

    The last good version is used first, then `score`. Such predictions are published with
    `degraded` set, and are counted in metrics and alarms like all others. A version that fails
    five times in a row is not called again for ten seconds.

    >>> Fallback(score=0.02).last_good
    True
    """

    last_good: bool = True
    """True: use the last version that scored a whole batch of the partition without a failure."""
    score: Score | Callable[[Features], Score] | None = None
    """Score to use: a probability, such as the share of positives; a probability for each class;
    a number for regression; or a function from features to one of these. None: the event becomes
    a dead letter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits for processing one record (decode, clean, features, predict) or one example (learn).

    A record that exceeds `seconds` or `memory_mb` terminates the worker. After the restart the
    record becomes a dead letter, and processing continues with the next one.

    >>> Limits(predict_seconds=0.05).seconds
    2.0
    """

    seconds: float = 2.0
    """Longest processing time, in seconds, from 0.1 to 3600."""
    memory_mb: int = 512
    """Most additional memory of the worker process, in MiB."""
    predict_seconds: float | None = None
    """Longest time of a prediction, in seconds. A prediction that takes longer counts as failed;
    the worker continues. None: no limit."""
