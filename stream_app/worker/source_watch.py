"""Watch over the topics of the sources, which other programs create, delete and protect."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from threading import Lock

from confluent_kafka.admin import AdminClient

from stream_app.errors import AccessError, KafkaUnavailableError, TopicsError
from stream_app.kafka.clients import ClientOwner, make_admin
from stream_app.kafka.source_topics import REMEDY, DirectTopic, SourceTopics, describe_sources
from stream_app.settings import Settings
from stream_app.telemetry.logs import get_logger

log = get_logger(__name__)

CHECK_SECONDS = 3.0


class SourceWatch:
    """Topics of the sources as of the last check: which ones can be read, and their ids.

    A worker subscribes only to those that can be read: a topic that is missing, or that it may not
    read, holds back no other one, and a broker creates none because a consumer asks for it.

    Args:
        names: topics of the sources.
        direct: topic of a scorer, besides the others; its partitions are checked, too.

    Attributes:
        error: error of a topic that must not be read at all, None if there is none.
    """

    def __init__(
        self, settings: Settings, names: Sequence[str], direct: DirectTopic | None = None
    ) -> None:
        self.error: TopicsError | None = None
        self._settings = settings
        self._names = names if direct is None else [*names, *direct]
        self._direct = direct
        self._found = SourceTopics({}, {}, {})
        self._partitions: int | None = None
        self._lock = Lock()
        self._admin: ClientOwner[AdminClient] | None = None

    def check(self) -> None:
        """Ask the cluster; without an answer, what was found before counts. Thread-safe."""
        with self._lock:
            try:
                if self._admin is None:
                    self._admin = ClientOwner(make_admin(self._settings))
                found = describe_sources(self._admin.client, self._names)
            # The worker's own clients meet these errors, too.
            except (KafkaUnavailableError, AccessError):
                return
            before, self._found = self._found, found
        self._check_direct(found)
        for name, problem in found.problems.items():
            if before.problems.get(name) != problem:
                log.warning(
                    "a topic of a source cannot be read, all others continue",
                    topic=name,
                    why=f"it {problem}",
                    action=REMEDY,
                )
        for name in before.problems.keys() & found.ids.keys():
            log.info("a topic of a source can be read now", topic=name)

    def _check_direct(self, found: SourceTopics) -> None:
        if self._direct is None:
            return
        self._partitions = found.partitions.get(self._direct.like, self._partitions)
        try:
            self._direct.check(found)
        except TopicsError as error:
            self.error = error

    def partition_count(self) -> int:
        """Return the number of partitions of the pipeline that reads a topic directly. Thread-safe.

        Raises:
            KafkaUnavailableError: the cluster has not said it yet.
        """
        if self._partitions is None:
            raise KafkaUnavailableError(
                "the number of partitions is not known yet", "Check that the brokers are up"
            )
        return self._partitions

    def id_of(self, topic: str) -> str | None:
        """Return the id of a topic, None if it cannot be read or has none. Thread-safe."""
        return self._found.ids.get(topic)

    @property
    def unreadable(self) -> frozenset[str]:
        """Topics that cannot be read. Thread-safe."""
        return frozenset(self._found.problems)

    def blockers(self) -> list[str]:
        """Return why topics cannot be read, empty if all can. Thread-safe."""
        return [f"topic {name} {problem}" for name, problem in self._found.problems.items()]

    def explains(self, error: BaseException) -> bool:
        """Return True for a missing right on a source, for which no worker must end."""
        if not isinstance(error, AccessError):
            return False
        self.check()
        return bool(self.unreadable)

    async def supervise(self, resubscribe: Callable[[], Awaitable[bool]]) -> None:
        """Check regularly, and subscribe again when other topics can be read; until cancelled.

        Args:
            resubscribe: subscribes again; returns False if that is not possible yet.

        Raises:
            TopicsError: a topic must not be read at all any more.
        """
        loop, subscribed = asyncio.get_running_loop(), self.unreadable
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            await loop.run_in_executor(None, self.check)
            if self.error is not None:
                raise self.error
            unreadable = self.unreadable
            if unreadable != subscribed and await resubscribe():
                subscribed = unreadable
