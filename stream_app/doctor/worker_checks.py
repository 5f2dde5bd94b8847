"""Checks of the workers: members and offsets of consumer groups, record counts of the scorers."""

from collections.abc import Iterator, Mapping

from stream_app.core.reading.event_time import NEVER
from stream_app.core.reading.identity import key_is_id
from stream_app.core.scoring.state_changelog import (
    OTHER_FORMAT_REMEDY,
    OTHER_IDENTITY_REMEDY,
    OTHER_PLACEMENT_REMEDY,
    STATE_FORMAT,
    other_identity,
)
from stream_app.doctor.context import CheckResult, DoctorContext, ok, problem, skipped, warning
from stream_app.errors import DataLossError
from stream_app.formatting import duration, iso_time
from stream_app.kafka.offsets import OffsetBounds
from stream_app.kafka.partitioner import partitioner_of
from stream_app.kafka.topic_uses import ROLE_INPUTS, SOURCE_ROLES
from stream_app.status.cluster_view import ConsumerGroup, offset_bounds
from stream_app.status.record_counts_reading import PartitionCounts, held_by, total

# Share of the state's limit from which a warning is given.
NEARLY_FULL = 0.8
# Share of records with one dead letter code from which a warning is given.
DEAD_LETTER_SHARE = 0.05
# Fewest records from which a share is computed.
MIN_RECORDS = 100

_ACCEPT_LOSS = "Restore the topic, or accept the loss with STREAM_APP_WORKER__ACCEPT_DATA_LOSS=true"


def check_members(context: DoctorContext) -> Iterator[CheckResult]:
    """Check that the groups have no other members than workers, and that workers run if needed."""
    foreign = [
        (group, member)
        for group in context.groups.values()
        for member in group.members
        if not (member.instance or "").startswith(f"{group.name}.")
    ]
    for group, member in foreign:
        yield problem(
            f"{member.client} on {member.host} is in group {group.name} and is not a worker of "
            f"this pipeline: its {len(member.partitions)} partitions are not processed",
            f"Stop it, or give it another group than {group.name}",
        )
    idle = [
        result
        for role, name in (("score", "scorer"), ("ingest", "ingest worker"))
        for result in _unread_without_worker(context, role, name)
    ]
    yield from idle
    if not foreign and not idle:
        members = ", ".join(
            f"{role} {len(group.members)}" for role, group in context.groups.items()
        )
        yield ok(f"members of the groups: {members}")


def _unread_without_worker(context: DoctorContext, role: str, name: str) -> Iterator[CheckResult]:
    group, bounds = context.groups.get(role), context.view.offset_bounds()
    # Without sources, there is no group of `ingest`.
    if group is None or group.members:
        return
    inputs = context.view.input_bounds(role, group, bounds)
    waiting = sum(
        end - max(low, group.offsets.get(partition_id, low))
        for partition_id, (low, end) in inputs.items()
    )
    if waiting > 0:
        yield warning(
            f"no {name} runs, and {waiting:,} records wait",
            "Start it with `stream-app up PIPELINE`",
        )


def check_offsets(context: DoctorContext) -> Iterator[CheckResult]:
    """Check that the records after each group's committed offsets still exist."""
    # Groups first: they may have advanced since, but cannot be beyond an end that is read later.
    groups, bounds = context.groups, context.view.offset_bounds()
    wrong = [
        result
        for role, group in groups.items()
        for result in _evaluate_offsets(context, role, group, bounds)
    ]
    started = any(group.offsets for group in groups.values())
    yield from wrong or [
        ok("no record was deleted unread")
        if started
        else skipped("no group has committed anything")
    ]


def _evaluate_offsets(
    context: DoctorContext, role: str, group: ConsumerGroup, bounds: OffsetBounds
) -> Iterator[CheckResult]:
    if role in SOURCE_ROLES:
        yield from _evaluate_source_offsets(context, role, group)
        return
    inputs = context.view.select(bounds, *ROLE_INPUTS[role])
    for (topic, partition), (low, end) in inputs.items():
        offset = group.offsets.get((topic, partition))
        name = f"{topic}[{partition}]"
        if offset is None:
            counts = context.record_counts.get(partition) if role == "score" else None
            if counts is not None and topic in counts.positions:
                yield warning(
                    f"the offset of group {group.name} for {name} has expired, "
                    "as after a week without workers",
                    "Nothing is lost: scorers continue at the offsets in their state; "
                    "do not delete the state topic",
                )
        elif offset < low:
            yield problem(
                f"{low - offset:,} records of {name} were deleted before {role} read them",
                _ACCEPT_LOSS,
            )
        elif offset > end:
            yield problem(
                f"{role} has read {name} to offset {offset:,}, but it ends at {end:,}: "
                "the topic was probably recreated",
                _ACCEPT_LOSS,
            )


def _evaluate_source_offsets(
    context: DoctorContext, role: str, group: ConsumerGroup
) -> Iterator[CheckResult]:
    """Yield a warning for each partition of a source whose next records are gone."""
    topics = context.metadata.topics
    read = {
        (topic, partition): offset
        for (topic, partition), offset in group.offsets.items()
        if topic in topics and partition in topics[topic].partitions
    }
    for (topic, partition), (low, end) in offset_bounds(context.admin, list(read)).items():
        offset, name = read[topic, partition], f"{topic}[{partition}]"
        if offset < low:
            why = f"{low - offset:,} records of {name} were deleted before {role} read them"
        elif offset > end:
            why = f"{role} has read {name} to offset {offset:,}, but it ends at {end:,}"
        else:
            continue
        yield warning(
            f"{why}: the partition waits, and all others continue",
            'Set on_loss="continue" of the source, and restart its workers, to read what is left',
        )


def check_record_counts(context: DoctorContext) -> Iterator[CheckResult]:
    """Check that the record counts add up, and that no limit is near or share too high."""
    counts = context.record_counts
    if not counts:
        yield skipped("no scorer has committed anything yet")
        return
    label = context.pipeline.label
    longest_wait = label.horizon + label.allowed_lateness
    found = [
        *evaluate_balance(counts),
        *evaluate_format(
            counts,
            keyed=not key_is_id(context.pipeline),
            partitioner=partitioner_of(context.pipeline).name,
        ),
        *evaluate_state(counts, context.settings.worker.max_state_entries),
        *evaluate_outcomes(counts),
        *evaluate_clocks(counts, int(longest_wait.total_seconds() * 1000)),
    ]
    yield ok(f"transactions work: {total(counts.values()).events:,} events have an outcome")
    yield skipped(
        "permission for a new transactional id: "
        "testing it would leave an entry on the brokers for a week"
    )
    yield from found or [
        ok(
            "no event was lost or duplicated, the state has room, labels meet their events, "
            "event time advances"
        )
    ]


def evaluate_balance(counts: Mapping[int, PartitionCounts]) -> Iterator[CheckResult]:
    """Yield a problem for each partition whose record counts contradict each other (a bug)."""
    for partition, one in counts.items():
        if not one.balanced:
            yield problem(
                f"the record counts of partition {partition} do not add up: "
                "an event was lost or duplicated",
                "Keep the topics, and report this",
            )


def evaluate_format(
    counts: Mapping[int, PartitionCounts], *, keyed: bool, partitioner: str = "murmur2"
) -> Iterator[CheckResult]:
    """Yield a problem for each partition whose state scorers of this pipeline cannot read.

    Args:
        counts: record counts by partition.
        keyed: True if the pipeline identifies events by K and event id.
        partitioner: name of the partitioner of the pipeline.
    """
    for partition, one in counts.items():
        if one.state_format != STATE_FORMAT:
            yield problem(
                f"the state of partition {partition} has format {one.state_format}, and this "
                f"version reads format {STATE_FORMAT}: scorers end with exit code "
                f"{DataLossError.exit_code}",
                OTHER_FORMAT_REMEDY,
            )
        elif one.keyed is not keyed:
            yield problem(
                f"the state of partition {partition} was written with another key of the pipeline: "
                f"{other_identity(keyed=keyed)}: scorers end with exit code "
                f"{DataLossError.exit_code}",
                OTHER_IDENTITY_REMEDY,
            )
        elif one.partitioner != partitioner:
            yield problem(
                f"the state of partition {partition} was written with the partitioner "
                f"{one.partitioner}, and the pipeline's is {partitioner}: scorers end with exit "
                f"code {DataLossError.exit_code}",
                OTHER_PLACEMENT_REMEDY,
            )


def evaluate_state(counts: Mapping[int, PartitionCounts], limit: int) -> Iterator[CheckResult]:
    """Yield a warning for each partition whose state is nearly full; `limit` is in entries."""
    for partition, one in counts.items():
        if one.entries is not None and one.entries >= NEARLY_FULL * limit:
            yield warning(
                f"the state of partition {partition} has {one.entries:,} of at most {limit:,} "
                "entries: beyond that the oldest predictions expire early",
                "Give scorers more memory and raise STREAM_APP_WORKER__MAX_STATE_ENTRIES",
            )


def evaluate_outcomes(counts: Mapping[int, PartitionCounts]) -> Iterator[CheckResult]:
    """Yield a warning for each frequent dead letter code that producers cause."""
    sums = total(counts.values())
    unknown, late = sums.label_dead["unknown-event"], sums.dead["event-too-late"]
    closed = sums.label_dead["label-too-late"]
    if sums.labels >= MIN_RECORDS and closed > DEAD_LETTER_SHARE * sums.labels:
        yield warning(
            f"{closed / sums.labels:.0%} of the labels came after their predictions were closed "
            "(dead letters `label-too-late`)",
            "Their messages say which watermark closed the predictions, and how much lateness is "
            "needed; allow it, or check that no producer sends times that are ahead. If labels "
            "were idle, raise idle_after",
        )
    if sums.labels >= MIN_RECORDS and unknown > DEAD_LETTER_SHARE * sums.labels:
        yield warning(
            f"{unknown / sums.labels:.0%} of the labels have no event "
            "(dead letters `unknown-event`)",
            "See what became of the event of one of them: `stream-app explain PIPELINE EVENT_ID`. "
            "Typical: it was never sent, is a dead letter, came later than allowed_lateness, or "
            "has another id, key or partitioner (see the check of producers)",
        )
    if sums.events >= MIN_RECORDS and late > DEAD_LETTER_SHARE * sums.events:
        yield warning(
            f"{late / sums.events:.0%} of the events are too late (dead letters `event-too-late`)",
            "Their messages say why. Send events in order of time, or allow more lateness; check "
            "that no producer sends many events in a row with times that are ahead, and that the "
            "state was not full",
        )


def evaluate_clocks(
    counts: Mapping[int, PartitionCounts], longest_wait: int
) -> Iterator[CheckResult]:
    """Yield a warning for each partition whose event time lags behind the others.

    Args:
        counts: record counts by partition.
        longest_wait: allowed lag in milliseconds.
    """
    clocks = {
        partition: one.clock.time for partition, one in counts.items() if one.clock.time != NEVER
    }
    newest = max(clocks.values(), default=0)
    for partition, clock in clocks.items():
        if newest - clock > longest_wait:
            behind = duration((newest - clock) / 1000)
            yield warning(
                f"event time in partition {partition} stands at {iso_time(clock)[:16]}, {behind} "
                "behind the others, so its predictions do not expire: "
                f"{counts[partition].counts.pending:,} wait",
                f"It is held back by {held_by(counts[partition].clock) or 'nothing'}. Check that "
                "they still arrive; if none are expected, run `stream-app labels complete` or "
                "ignore this: after idle_after the clock moves",
            )
