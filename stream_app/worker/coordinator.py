"""Our consumer's side of its group: who it is to the broker, and whether the broker still knows it.

A session that has expired, as in a long outage, only needs a new one; an instance id that somebody else has taken over
must not be taken back. aiokafka's coordinator gives up its member id in both cases, and so cannot tell them apart.
"""

import logging
from contextlib import suppress
from time import monotonic
from typing import Any

import aiokafka.consumer.consumer as consumer
import aiokafka.errors as errors
from aiokafka.consumer.group_coordinator import GroupCoordinator

from stream_app.errors import FencedError, KafkaUnavailableError, StreamAppError
from stream_app.kafka.access_errors import right_missing
from stream_app.telemetry.logs import get_logger

log = get_logger(__name__)

THROTTLE_SECONDS = 30.0
_NO_GENERATION = -1


class FencedInstanceIdError(errors.BrokerResponseError):  # type: ignore[misc]
    """Another member has our static instance id."""

    errno = 82
    message = "FENCED_INSTANCE_ID"


class Coordinator(GroupCoordinator):  # type: ignore[misc]
    """aiokafka's coordinator, which joins again as who it was, and tells when the broker has last confirmed it."""

    confirmed = float("-inf")
    """When the last request was sent (monotonic) by whose answer the broker still took us for a member."""

    def reset_generation(self) -> None:
        """Join again with the old member id, which tells us whether it was taken over; without, when it has expired."""
        if self.generation == _NO_GENERATION:
            super().reset_generation()
        else:
            self.generation: int = _NO_GENERATION
            self.request_rejoin()

    @property
    def troubled(self) -> bool:
        """Whether the group has refused something (any thread)."""
        return self._pending_exception is not None

    def problem(self) -> StreamAppError | None:
        """Why it can be a member no more (any thread)."""
        error = self._pending_exception  # kept there until somebody asks
        if isinstance(error, errors.GroupAuthorizationFailedError):
            return right_missing("consumer group", f"join the group {self.group_id}")
        if isinstance(error, errors.TopicAuthorizationFailedError):
            return right_missing("topic", f"read {error.args[0]}")
        if self._coordination_task.done() and not self._closing.done():
            return KafkaUnavailableError(
                f"the group {self.group_id} is lost", "See the lines above"
            )
        if error is not None and FencedInstanceIdError.__name__ in str(error):
            return FencedError(
                f"instance id {self._group_instance_id} was taken over while this worker ran",
                "Give every worker of a role its own --instance",
            )
        return None

    def heal(self) -> None:
        """Join again after an error that may pass; aiokafka does nothing more until somebody has asked for it."""
        if not self.troubled or self.problem() is not None:
            return
        log.warning(
            "the group has refused a request, joining again", why=str(self._pending_exception)
        )
        with suppress(errors.KafkaError):
            self.check_errors()
        self.request_rejoin()

    async def _do_heartbeat(self) -> bool:
        if self.generation == _NO_GENERATION:
            return False
        sent = monotonic()
        answered: bool = await super()._do_heartbeat()
        if answered and not self._rejoin_needed_fut.done():
            self.confirmed = sent
        return answered

    async def _on_join_complete(self, *joined: Any) -> None:
        self.confirmed = monotonic()
        await super()._on_join_complete(*joined)


errors.kafka_errors[FencedInstanceIdError.errno] = FencedInstanceIdError
consumer.GroupCoordinator = Coordinator  # which has no setting for it


class Throttle(logging.Filter):
    """Lets a line of a library through once in `seconds`: in an outage aiokafka says the same 500 times a second."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds
        self._said: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to log it."""
        line, now = record.getMessage(), monotonic()
        self._said = {said: at for said, at in self._said.items() if now - at < self._seconds}
        if line in self._said:
            return False
        self._said[line] = now
        return True


for library in (
    "aiokafka",
    "aiokafka.cluster",
    "aiokafka.consumer.fetcher",
    "aiokafka.consumer.group_coordinator",
):
    logging.getLogger(library).addFilter(Throttle(THROTTLE_SECONDS))
