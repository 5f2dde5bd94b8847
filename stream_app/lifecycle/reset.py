"""Starting a pipeline over: what would be deleted, and deleting it, but never under a running worker."""

import time
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass

from confluent_kafka import KafkaError, KafkaException

from stream_app.errors import FencedError, KafkaUnavailableError
from stream_app.kafka.access_errors import failure
from stream_app.kafka.clients import cluster_topics
from stream_app.model_store.artifacts import pipeline_store
from stream_app.status.pipeline_view import PipelineView
from stream_app.status.worker_status import local_workers
from stream_app.topic_kinds import TopicKind

KEPT: tuple[TopicKind, ...] = ("raw", "labels", "audit")

_TIMEOUT = 30.0
_POLL = 0.2
_GRACE = 3.0  # seconds beyond the session time-out, in which the broker notices that a stopped worker is gone


@dataclass(frozen=True, slots=True)
class Reset:
    """What starting over deletes and what it keeps: records by topic, at most, for markers of transactions count."""

    pipeline: str
    cluster: str
    deleted: dict[str, int]
    kept: dict[str, int]
    groups: tuple[str, ...]


def plan_reset(view: PipelineView, *, keep_raw: bool) -> Reset:
    """Look at what is there; with `keep_raw` raw records and labels stay, to be processed anew, and the audit."""
    records: dict[str, int] = {}
    for (topic, _), (low, end) in view.limits().items():
        records[topic] = records.get(topic, 0) + end - low
    spared = {view.topic(kind) for kind in KEPT} if keep_raw else set()
    return Reset(
        view.name,
        view.servers,
        {topic: count for topic, count in records.items() if topic not in spared},
        {topic: count for topic, count in records.items() if topic in spared},
        tuple(group.name for group in view.groups().values()),
    )


def await_no_workers(view: PipelineView) -> None:
    """Return when no worker is left; one that has just stopped is a member until its session times out.

    `FencedError` if one runs here, or is still a member then.
    """
    running = [
        worker for worker in local_workers(view.settings.data_dir / "run" / view.name) if worker.pid
    ]
    if running:
        raise _still_running(view, [f"{worker.name} (process {worker.pid})" for worker in running])
    deadline = time.monotonic() + view.settings.worker.session_timeout_seconds + _GRACE
    while members := [member for group in view.groups().values() for member in group.members]:
        if time.monotonic() > deadline:
            raise _still_running(
                view, [f"{member.instance or member.client} on {member.host}" for member in members]
            )
        time.sleep(_POLL)


def carry_out(view: PipelineView, reset: Reset) -> None:
    """Delete offsets, topics and artifacts, in this order: the broker refuses the first while a worker runs.

    What was interrupted is completed by doing it again.
    """
    if reset.groups:
        _all_done(
            view.admin.delete_consumer_groups(list(reset.groups), request_timeout=_TIMEOUT),
            "delete offsets",
        )
    if reset.deleted:
        topics = list(reset.deleted)
        _all_done(view.admin.delete_topics(topics, operation_timeout=_TIMEOUT), "delete topics")
        _await_gone(view, set(topics))
    pipeline_store(view.settings, view.name).delete_all()


def _all_done(futures: Mapping[str, "Future[None]"], what: str) -> None:
    """Wait for every answer; what was not there need not be deleted."""
    absent = (KafkaError.GROUP_ID_NOT_FOUND, KafkaError.UNKNOWN_TOPIC_OR_PART)
    for future in futures.values():
        try:
            future.result(timeout=_TIMEOUT)
        except KafkaException as error:
            code = error.args[0].code()
            if code == KafkaError.NON_EMPTY_GROUP:
                raise FencedError(
                    "A worker has started meanwhile", "Stop it, and reset again"
                ) from None
            if code not in absent:
                raise failure(error.args[0], what) from None
        except TimeoutError:
            raise _unanswered(what) from None


def _await_gone(view: PipelineView, names: set[str]) -> None:
    """A topic is deleted before every broker knows it; `up` must not find it."""
    deadline = time.monotonic() + _TIMEOUT
    while names & cluster_topics(view.admin).topics.keys():
        if time.monotonic() > deadline:
            raise _unanswered("delete topics")
        time.sleep(_POLL)


def _unanswered(what: str) -> KafkaUnavailableError:
    return KafkaUnavailableError(
        f"Could not {what} in {_TIMEOUT:.0f} s", "Check the brokers, and reset again"
    )


def _still_running(view: PipelineView, workers: list[str]) -> FencedError:
    return FencedError(
        f"Workers of {view.name} are running: {', '.join(workers)}", "Stop them first"
    )
