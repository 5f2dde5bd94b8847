"""Members of consumer groups are read from what `list_groups` returns."""

from types import SimpleNamespace
from uuid import uuid4

import pytest

from stream_app.status.cluster_view import GroupMember, _member, assigned_partitions


def assignment(topics: dict[str, list[int]]) -> bytes:
    """Return an assignment of the consumer protocol, with user data."""
    parts = [b"\0\1", len(topics).to_bytes(4)]
    for topic, partitions in topics.items():
        parts += [len(topic).to_bytes(2), topic.encode(), len(partitions).to_bytes(4)]
        parts += [partition.to_bytes(4) for partition in partitions]
    return b"".join([*parts, b"\0\0\0\4data"])


@pytest.mark.parametrize(
    ("name", "instance"), [("payments.score.0", "payments.score.0"), ("faust", None)]
)
def test_a_member_has_its_static_id_and_partitions(name: str, instance: str | None) -> None:
    found = SimpleNamespace(
        id=f"{name}-{uuid4()}",
        client_id="faust",
        client_host="/127.0.0.1",
        assignment=assignment({"payments.raw": [0, 2], "payments.labels": [1]}),
    )
    partitions = frozenset({("payments.raw", 0), ("payments.raw", 2), ("payments.labels", 1)})
    assert _member(found) == GroupMember(instance, "faust", "127.0.0.1", partitions)


def test_a_member_without_an_assignment_has_no_partition() -> None:
    assert not list(assigned_partitions(b""))
