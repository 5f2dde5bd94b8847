"""The consumer groups: who is in them, and whether what they are to read is still there."""

from collections.abc import Iterator, Mapping

from stream_app.doctor.context import DoctorContext
from stream_app.doctor.results import CheckResult, ok, problem, skipped, warning
from stream_app.kafka.offsets import Limits
from stream_app.status.cluster_view import ConsumerGroup
from stream_app.worker.roles.role_table import ROLES


def check_members(it: DoctorContext) -> Iterator[CheckResult]:
    """Nobody else takes part: a foreign member would take partitions and do nothing with them."""
    foreign = [
        (group, member)
        for group in it.groups.values()
        for member in group.members
        if not (member.instance or "").startswith(f"{group.name}-")
    ]
    for group, member in foreign:
        yield problem(
            f"{member.client} on {member.host} is in group {group.name} and is none of our workers: "
            f"{len(member.partitions)} partitions are lost to it",
            f"Stop it, or give it another group than {group.name}",
        )
    idle = list(_idle(it))
    yield from idle
    if not foreign and not idle:
        yield ok(f"members of the groups: {_counts(it.groups)}")


def _idle(it: DoctorContext) -> Iterator[CheckResult]:
    """Records wait, and no scorer is there to score them."""
    group, limits = it.groups["score"], it.view.limits()
    if group.members:
        return
    places = it.view.of(limits, *ROLES["score"].inputs)
    waiting = sum(
        end - max(low, group.offsets.get(place, low)) for place, (low, end) in places.items()
    )
    if waiting > 0:
        yield warning(
            f"no scorer runs, and {waiting:,} records wait",
            "Start it with `stream-app up PIPELINE`",
        )


def _counts(groups: Mapping[str, ConsumerGroup]) -> str:
    return ", ".join(f"{role} {len(group.members)}" for role, group in groups.items())


def check_offsets(it: DoctorContext) -> Iterator[CheckResult]:
    """Where each group goes on, there is something to go on with."""
    found, limits = (
        it.groups,
        it.view.limits(),
    )  # in this order: a group may only have come further since
    wrong = [
        finding for role, group in found.items() for finding in _offsets(it, role, group, limits)
    ]
    started = any(group.offsets for group in found.values())
    yield from wrong or [
        ok("no record was deleted unread")
        if started
        else skipped("no group has committed anything")
    ]


def _offsets(
    it: DoctorContext, role: str, group: ConsumerGroup, limits: Limits
) -> Iterator[CheckResult]:
    for (topic, partition), (low, end) in it.view.of(limits, *ROLES[role].inputs).items():
        offset = group.offsets.get((topic, partition))
        where = f"{topic}[{partition}]"
        if offset is None:
            if (
                role == "score"
                and partition in it.sheets
                and topic in it.sheets[partition].positions
            ):
                yield warning(
                    f"group {group.name} has no offset for {where} any more, as after a week without workers",
                    "Nothing is lost: scorers go on where their state says; do not delete the state topic",
                )
        elif offset < low:
            yield problem(
                f"{low - offset:,} records of {where} were deleted before {role} had read them",
                "Restore the topic, or accept the loss with STREAM_APP_WORKER__ACCEPT_DATA_LOSS=true",
            )
        elif offset > end:
            yield problem(
                f"{role} has read {where} to offset {offset:,}, but it ends at {end:,}: was it recreated?",
                "Restore the topic, or accept the loss with STREAM_APP_WORKER__ACCEPT_DATA_LOSS=true",
            )
