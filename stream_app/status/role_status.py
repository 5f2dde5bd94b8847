"""Who works: members of the groups, put together with what this machine knows of its own workers."""

from collections.abc import Iterable
from functools import cache

import psutil

from stream_app.kafka.topics import topic_name
from stream_app.status.cluster_view import ConsumerGroup, GroupMember
from stream_app.status.local_workers import LocalWorker
from stream_app.status.status_model import RoleStatus, WorkerState, WorkerStatus
from stream_app.worker.roles.role_table import ROLES


def group_name(pipeline: str, role: str) -> str:
    """The consumer group of a role."""
    return f"{pipeline}-{role}"


def worker_name(group: ConsumerGroup, role: str, member: GroupMember) -> str:
    """What a member is called here: `score-0`, or its own name if it is none of our workers."""
    prefix = f"{group.name}-"
    if member.instance is not None and member.instance.startswith(prefix):
        return f"{role}-{member.instance.removeprefix(prefix)}"
    return member.instance or member.client


def role_status(
    pipeline: str, role: str, group: ConsumerGroup, local: Iterable[LocalWorker]
) -> RoleStatus:
    """One role with all its workers, in the order of their names."""
    members = {worker_name(group, role, member): member for member in group.members}
    here = {worker.name: worker for worker in local if worker.name.startswith(f"{role}-")}
    shown = topic_name(pipeline, ROLES[role].inputs[0])
    workers = [
        _worker(name, members.get(name), here.get(name), shown)
        for name in sorted(members.keys() | here.keys(), key=lambda name: (len(name), name))
    ]
    return RoleStatus(role, group.name, bool(group.members), bool(group.offsets), tuple(workers))


def _worker(
    name: str, member: GroupMember | None, found: LocalWorker | None, topic: str
) -> WorkerStatus:
    local = found or LocalWorker(name)
    readiness = local.readiness or {}
    ending = (local.ending,) if local.ending is not None and local.pid is None else ()
    return WorkerStatus(
        name=name,
        state=_state(member, found),
        reasons=tuple(readiness.get("reasons", ending)),
        member=member is not None,
        host=member.host if member else "",
        partitions=tuple(sorted(number for owned, number in member.partitions if owned == topic))
        if member
        else (),
        pid=local.pid,
        model_version=readiness.get("model_version"),
        memory_bytes=local.memory_bytes,
    )


def _state(member: GroupMember | None, local: LocalWorker | None) -> WorkerState:
    """A member stays one until its session ends, so one of this machine may be dead."""
    if local is not None and local.readiness is not None:
        return "ready" if local.readiness.get("ready") else "not ready"
    if local is not None and local.pid is not None:
        return "silent"
    return (
        "running"
        if member is not None and (local is None or member.host not in _addresses())
        else "ended"
    )


@cache
def _addresses() -> frozenset[str]:
    """Those of this machine."""
    return frozenset(
        address.address for addresses in psutil.net_if_addrs().values() for address in addresses
    )
