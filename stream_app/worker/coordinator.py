"""Group coordinator of a worker's consumer: its membership, and whether the broker confirms it.

After an expired session, as in a long outage, a worker only needs a new one; an instance id that
another worker took over must not be taken back. aiokafka's coordinator drops its member id in both
cases, and so cannot tell them apart.
"""

import logging
from contextlib import suppress
from time import monotonic
from typing import Any

import aiokafka.consumer.consumer as consumer
import aiokafka.errors as errors
from aiokafka.consumer.group_coordinator import GroupCoordinator

from stream_app.errors import FencedError, KafkaUnavailableError, StreamAppError
from stream_app.kafka.access_errors import unauthorized
from stream_app.telemetry.logs import get_logger

log = get_logger(__name__)

THROTTLE_SECONDS = 30.0
THROTTLED_LIBRARIES = (
    "aiokafka",
    "aiokafka.cluster",
    "aiokafka.consumer.fetcher",
    "aiokafka.consumer.group_coordinator",
)
_NO_GENERATION = -1


class FencedInstanceIdError(errors.BrokerResponseError):  # type: ignore[misc]
    """Another member has the static instance id of this worker."""

    errno = 82
    message = "FENCED_INSTANCE_ID"


class Coordinator(GroupCoordinator):  # type: ignore[misc]
    """aiokafka's coordinator, which rejoins with its old member id.

    Attributes:
        confirmed_at: monotonic seconds at which the last request was sent whose response confirmed
            that this worker is a member.
    """

    confirmed_at = float("-inf")

    def reset_generation(self) -> None:
        """Rejoin with the old member id, which reveals a takeover; without it once it expired."""
        if self.generation == _NO_GENERATION:
            super().reset_generation()
        else:
            self.generation: int = _NO_GENERATION
            self.request_rejoin()

    @property
    def has_error(self) -> bool:
        """True if the group rejected a request. Thread-safe."""
        return self._pending_exception is not None

    def permanent_error(self) -> StreamAppError | None:
        """Return the reason why this worker cannot be a member any more, or None. Thread-safe."""
        # aiokafka keeps the error until it is asked for.
        error = self._pending_exception
        if isinstance(error, errors.GroupAuthorizationFailedError):
            return unauthorized("consumer group", f"join the group {self.group_id}")
        if isinstance(error, errors.TopicAuthorizationFailedError):
            return unauthorized("topic", f"read {error.args[0]}")
        if self._coordination_task.done() and not self._closing.done():
            return KafkaUnavailableError(
                f"the coordination with the group {self.group_id} ended", "See the lines above"
            )
        if error is not None and FencedInstanceIdError.__name__ in str(error):
            return FencedError(
                f"instance id {self._group_instance_id} was taken over while this worker ran",
                "Give every worker of a role its own --instance",
            )
        return None

    def recover(self) -> None:
        """Rejoin after a temporary error; aiokafka waits until the error is asked for."""
        if not self.has_error or self.permanent_error() is not None:
            return
        log.warning("the group rejected a request, rejoining", why=str(self._pending_exception))
        with suppress(errors.KafkaError):
            self.check_errors()
        self.request_rejoin()

    async def _do_heartbeat(self) -> bool:
        if self.generation == _NO_GENERATION:
            return False
        sent = monotonic()
        answered: bool = await super()._do_heartbeat()
        if answered and not self._rejoin_needed_fut.done():
            self.confirmed_at = sent
        return answered

    async def _on_join_complete(self, *joined: Any) -> None:
        self.confirmed_at = monotonic()
        await super()._on_join_complete(*joined)


class Throttle(logging.Filter):
    """Filter that passes a line once per interval: aiokafka repeats one 500 times per second."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds
        self._logged: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return True to log the line."""
        line, now = record.getMessage(), monotonic()
        self._logged = {text: at for text, at in self._logged.items() if now - at < self._seconds}
        if line in self._logged:
            return False
        self._logged[line] = now
        return True


# aiokafka has no setting for these.
errors.kafka_errors[FencedInstanceIdError.errno] = FencedInstanceIdError
consumer.GroupCoordinator = Coordinator
for library in THROTTLED_LIBRARIES:
    logging.getLogger(library).addFilter(Throttle(THROTTLE_SECONDS))
