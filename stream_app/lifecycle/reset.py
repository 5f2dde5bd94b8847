"""Reset of a pipeline: plans and executes the deletion of its data while no worker runs."""

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from time import monotonic

from confluent_kafka import KafkaError, KafkaException

from stream_app.errors import FencedError, KafkaUnavailableError
from stream_app.kafka.access_errors import kafka_error
from stream_app.kafka.clients import cluster_topics
from stream_app.model_store.artifacts import pipeline_store
from stream_app.retrying import wait_until
from stream_app.status.cluster_view import GroupMember
from stream_app.status.pipeline_view import PipelineView
from stream_app.status.worker_status import local_workers
from stream_app.topic_kinds import TopicKind

KEPT: tuple[TopicKind, ...] = ("raw", "labels", "audit", "ingest.replay", "ingest.state")
# Its offsets are kept with the raw records: what it has forwarded must not come again.
_KEPT_ROLE = "ingest"

_TIMEOUT_SECONDS = 30.0
_POLL_SECONDS = 0.2
# Time beyond the session timeout in which the broker removes a stopped worker from its group.
_GRACE_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Reset:
    """Plan of a reset.

    Attributes:
        cluster: addresses of the brokers.
        deleted: topics to delete, with an upper bound of their records: transaction markers count.
        kept: topics to keep, likewise.
        groups: consumer groups whose offsets are deleted.
    """

    pipeline: str
    cluster: str
    deleted: dict[str, int]
    kept: dict[str, int]
    groups: tuple[str, ...]


def plan_reset(view: PipelineView, *, keep_raw: bool, keep_scored: bool = False) -> Reset:
    """Return the plan of a reset.

    Args:
        keep_raw: keep raw records and labels, to be processed again, the state of `ingest`, which
            has forwarded them, and the audit log.
        keep_scored: keep scored records, for their consumers.
    """
    records: dict[str, int] = {}
    for (topic, _), (low, end) in view.offset_bounds().items():
        records[topic] = records.get(topic, 0) + end - low
    kept = {view.topic(kind) for kind in KEPT} if keep_raw else set()
    if keep_scored:
        kept.add(view.topic("scored"))
    return Reset(
        view.name,
        view.servers,
        {topic: count for topic, count in records.items() if topic not in kept},
        {topic: count for topic, count in records.items() if topic in kept},
        tuple(
            group.name
            for role, group in view.groups().items()
            if not (keep_raw and role == _KEPT_ROLE)
        ),
    )


def await_no_workers(view: PipelineView) -> None:
    """Wait until no worker is left; a stopped one is a member until its session times out.

    Raises:
        FencedError: a worker runs on this machine, or is still a member after that time.
    """
    running = [
        worker for worker in local_workers(view.settings.data_dir / "run" / view.name) if worker.pid
    ]
    if running:
        raise _still_running(view, [f"{worker.name} (process {worker.pid})" for worker in running])
    members: list[GroupMember] = []

    def is_empty() -> bool:
        nonlocal members
        members = [member for group in view.groups().values() for member in group.members]
        return not members

    timeout = view.settings.worker.session_timeout_seconds + _GRACE_SECONDS
    if not wait_until(monotonic() + timeout, is_empty, _POLL_SECONDS):
        raise _still_running(
            view, [f"{member.instance or member.client} on {member.host}" for member in members]
        )


def execute_reset(view: PipelineView, reset: Reset) -> None:
    """Delete offsets, topics and artifacts; running it again completes an interrupted reset.

    Offsets come first, because the broker does not delete them while a worker runs.
    """
    if reset.groups:
        _await_all(
            view.admin.delete_consumer_groups(list(reset.groups), request_timeout=_TIMEOUT_SECONDS),
            "delete offsets",
        )
    if reset.deleted:
        topics = list(reset.deleted)
        _await_all(
            view.admin.delete_topics(topics, operation_timeout=_TIMEOUT_SECONDS), "delete topics"
        )
        _await_deleted(view, set(topics))
    pipeline_store(view.settings, view.name).delete_all()


def _await_all(futures: Mapping[str, "Future[None]"], action: str) -> None:
    """Wait for all answers; what is missing counts as deleted."""
    absent = (KafkaError.GROUP_ID_NOT_FOUND, KafkaError.UNKNOWN_TOPIC_OR_PART)
    for future in futures.values():
        try:
            future.result(timeout=_TIMEOUT_SECONDS)
        except KafkaException as error:
            code = error.args[0].code()
            if code == KafkaError.NON_EMPTY_GROUP:
                raise FencedError(
                    "A worker was started during the reset", "Stop it, and reset again"
                ) from None
            if code not in absent:
                raise kafka_error(error.args[0], action) from None
        except TimeoutError:
            raise _unanswered(action) from None


def _await_deleted(view: PipelineView, names: set[str]) -> None:
    """Wait until no broker lists the topics any more, so that `up` does not find them."""

    def are_deleted() -> bool:
        return not names & cluster_topics(view.admin).topics.keys()

    if not wait_until(monotonic() + _TIMEOUT_SECONDS, are_deleted, _POLL_SECONDS):
        raise _unanswered("delete topics")


def _unanswered(action: str) -> KafkaUnavailableError:
    return KafkaUnavailableError(
        f"Could not {action} in {_TIMEOUT_SECONDS:.0f} s", "Check the brokers, and reset again"
    )


def _still_running(view: PipelineView, workers: list[str]) -> FencedError:
    return FencedError(
        f"Workers of {view.name} are running: {', '.join(workers)}", "Stop them first"
    )
