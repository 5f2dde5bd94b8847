"""Hints from the scorers' books: limits that come near, labels that meet nothing, time that stands still."""

from collections.abc import Iterator, Mapping

from stream_app.core.scoring.partition_state import NEVER
from stream_app.doctor.context import DoctorContext
from stream_app.doctor.results import CheckResult, ok, problem, skipped, warning
from stream_app.formatting import duration, iso_time
from stream_app.status.record_counts_reading import PartitionCounts, total

NEAR = 0.8
UNKNOWN_SHARE = 0.05
ENOUGH = 100  # outcomes below which shares say nothing


def check_books(it: DoctorContext) -> Iterator[CheckResult]:
    """Exact counts that must agree, and shares that tell of a mistake elsewhere."""
    if not it.sheets:
        yield skipped("no scorer has committed anything yet")
        return
    limit = it.settings.worker.max_state_entries
    patience = it.pipeline.label.horizon + it.pipeline.label.allowed_lateness
    hints = [
        *judge_books(it.sheets),
        *judge_state(it.sheets, limit),
        *judge_outcomes(it.sheets),
        *judge_clocks(it.sheets, int(patience.total_seconds() * 1000)),
    ]
    yield ok(f"transactions work: {total(it.sheets.values()).events:,} events have an outcome")
    yield skipped(
        "whether a new transactional id is allowed: trying it would leave an entry on the brokers for a week"
    )
    yield from hints or [
        ok("the books balance, the state has room, labels meet their events, event time goes on")
    ]


def judge_books(sheets: Mapping[int, PartitionCounts]) -> Iterator[CheckResult]:
    """What cannot be, unless there is a bug."""
    for partition, sheet in sheets.items():
        if not sheet.balanced:
            yield problem(
                f"the books of partition {partition} do not balance",
                "Keep the topics, and report this",
            )


def judge_state(sheets: Mapping[int, PartitionCounts], limit: int) -> Iterator[CheckResult]:
    """How near the state is to its limit."""
    for partition, sheet in sheets.items():
        if sheet.entries is not None and sheet.entries >= NEAR * limit:
            yield warning(
                f"the state of partition {partition} has {sheet.entries:,} of at most {limit:,} entries: beyond that "
                "the oldest predictions expire early",
                "Give scorers more memory and raise STREAM_APP_WORKER__MAX_STATE_ENTRIES",
            )


def judge_outcomes(sheets: Mapping[int, PartitionCounts]) -> Iterator[CheckResult]:
    """Records that end as dead letters for a reason that lies with the producers."""
    books = total(sheets.values())
    unknown, late = books.label_dead["unknown-event"], books.dead["event-too-late"]
    if books.labels >= ENOUGH and unknown > UNKNOWN_SHARE * books.labels:
        yield warning(
            f"{unknown / books.labels:.0%} of the labels never met their event (dead letters `unknown-event`)",
            "Do events and labels have the same id and key, and is the partitioner Java's? See the check of producers",
        )
    if books.events >= ENOUGH and late > UNKNOWN_SHARE * books.events:
        yield warning(
            f"{late / books.events:.0%} of the events came too late (dead letters `event-too-late`)",
            "Does some producer send times that are ahead? They move the clock on for all; or allow more lateness",
        )


def judge_clocks(sheets: Mapping[int, PartitionCounts], patience: int) -> Iterator[CheckResult]:
    """Partitions whose event time stands still while it goes on elsewhere; `patience` is in milliseconds."""
    clocks = {partition: sheet.clock for partition, sheet in sheets.items() if sheet.clock != NEVER}
    newest = max(clocks.values(), default=0)
    for partition, clock in clocks.items():
        if newest - clock > patience:
            behind = duration((newest - clock) / 1000)
            yield warning(
                f"event time in partition {partition} stands at {iso_time(clock)[:16]}, {behind} behind the others, so its "
                f"predictions do not expire: {sheets[partition].tallies.pending:,} wait",
                "Do events or labels with keys of this partition still come? If not, that is how it has to be",
            )
