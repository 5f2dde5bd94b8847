"""Operations on dead letters: park, drop, restore, and the status of all operations."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from stream_app.clock import now_ms
from stream_app.dead_letters.access import open_dead_letters
from stream_app.dead_letters.dead_letter_admin import (
    DeadLetterAdmin,
    PlannedOperation,
    ledger_output,
    log_audits,
)
from stream_app.dead_letters.dead_letter_selection import DeadLetterSelection
from stream_app.dead_letters.ledger import (
    DeadLetterOffsets,
    DlqPartition,
    Ledger,
    Operation,
    count_offsets,
    progress_record,
)
from stream_app.dead_letters.replay_outcomes import (
    OutcomeReader,
    ReplayBacklog,
    ReplayResult,
    replay_result,
)
from stream_app.dead_letters.replay_plan import new_operation_id, ranges_by_partition
from stream_app.dead_letters.replay_producer import check_not_running, replay_transactional_id
from stream_app.dead_letters.replay_records import INGEST_TOPIC, replay_topics
from stream_app.errors import FencedError, SelectionError
from stream_app.formatting import iso_time
from stream_app.pipeline import Pipeline
from stream_app.settings import Settings
from stream_app.telemetry.logs import operator

ClosingKind = Literal["park", "drop"]

_LIST_OPERATIONS = "List the operations with `stream-app dead-letters status PIPELINE`"


@dataclass(frozen=True, slots=True)
class ClosingRequest:
    """Request to park or drop dead letters.

    Attributes:
        kind: "park" or "drop".
        selection: dead letters; only open ones are closed.
        why: reason for the audit.
    """

    kind: ClosingKind
    selection: DeadLetterSelection
    why: str


def close_dead_letters(
    settings: Settings, pipeline: Pipeline, request: ClosingRequest, *, write: bool
) -> tuple[Operation, Counter[str]]:
    """Park or drop the open dead letters of a selection.

    Args:
        write: False for a dry run.

    Returns:
        The operation, and the number of selected dead letters that are not open, by state.

    Raises:
        SelectionError: no selected dead letter is open.
        FencedError: another operator wrote at the same time.
    """
    admin, what = DeadLetterAdmin(settings, pipeline.name), request.selection.describe()
    with open_dead_letters(settings, pipeline) as dead_letters:
        refs = list(dead_letters.index.select(request.selection))
    not_open: Counter[str] = Counter()
    decided: list[PlannedOperation] = []

    def plan(ledger: Ledger) -> list[PlannedOperation]:
        not_open.clear()
        found: dict[DlqPartition, list[int]] = {}
        for ref in refs:
            state = ledger.state(ref)
            if state == "open":
                found.setdefault((ref.kind, ref.partition), []).append(ref.offset)
            else:
                not_open[state] += 1
        if not found:
            raise nothing_open(what, not_open)
        offsets = ranges_by_partition(found)
        total, name = count_offsets(offsets), new_operation_id(ledger, request.kind, offsets)
        operation = Operation(name, request.kind, now_ms(), operator(), what, request.why, total)
        decided.append(PlannedOperation(operation, offsets, {"dead_letters": total}))
        return decided[-1:]

    if write:
        admin.transact(plan)
    else:
        plan(admin.ledger())
    return decided[-1].operation, not_open


def nothing_open(
    what: str, not_open: Mapping[str, int], unfinished: Iterable[str] = ()
) -> SelectionError:
    """Return the error of a selection without open dead letters.

    Args:
        what: selection in words.
        not_open: number of selected dead letters by state.
        unfinished: ids of unfinished replays that have these dead letters to send.
    """
    if not not_open:
        return SelectionError(
            f"No dead letter matches {what}",
            "List the groups with `stream-app dead-letters groups PIPELINE`",
        )
    counts = ", ".join(f"{count:,} {state}" for state, count in sorted(not_open.items()))
    replays = ", ".join(unfinished)
    return SelectionError(
        f"No dead letter that matches {what} is open: {counts}",
        f"Resume the unfinished replay {replays} with the command that started it, or restore it"
        if replays
        else _LIST_OPERATIONS,
    )


def restore(
    admin: DeadLetterAdmin, operation_id: str, why: str, *, write: bool
) -> tuple[Operation, int]:
    """Revert an operation: its dead letters are open again, of a replay those not sent.

    Args:
        write: False for a dry run.

    Returns:
        The reverted operation, and the number of dead letters that are open again.

    Raises:
        SelectionError: the operation does not exist, or nothing of it can be restored.
        FencedError: another operator is sending the replay.
    """
    ledger = admin.ledger()
    reverted = _restorable(ledger, operation_id)
    if reverted.kind == "replay":
        check_not_running(reverted, ledger.progress.get(reverted.id))
    if not write:
        return reverted, count_offsets(_reopened(ledger, reverted))
    try:
        # This writer fences the process that sends the replay, if there is one.
        writer = admin.writer(replay_transactional_id(admin.name, reverted.id))
        ledger = admin.ledger(stable=True)
        total = count_offsets(_reopened(ledger, _restorable(ledger, operation_id)))
        now = now_ms()
        operation = Operation(
            f"{reverted.id}-{now}",
            "restore",
            now,
            operator(),
            reverted.what,
            why,
            total,
            reverts=reverted.id,
        )
        planned = PlannedOperation(operation, {}, {"dead_letters": total})
        audits = admin.write_operations(writer, [planned])
        progress = ledger.progress.get(reverted.id)
        if progress is not None and progress.state == "sending":
            stopped = replace(progress, state="stopped", at=now)
            writer.write([ledger_output(progress_record(reverted.id, stopped))])
        writer.commit({}, None)
    except FencedError:
        raise FencedError(
            f"Another operator changed {reverted.id} at the same time",
            "Check the present state, and repeat the command if it is still needed",
        ) from None
    log_audits(audits)
    return reverted, total


def _restorable(ledger: Ledger, operation_id: str) -> Operation:
    found = ledger.operations.get(operation_id)
    if found is None or found.kind == "restore":
        raise _unknown_operation(operation_id)
    if not count_offsets(_reopened(ledger, found)):
        is_replay = found.kind == "replay"
        reason = "all its records are sent" if is_replay else "it has been reverted"
        raise SelectionError(
            f"The {found.kind} {operation_id} of {iso_time(found.at)} cannot be restored: {reason}",
            "Restore another operation; `stream-app dead-letters status PIPELINE` lists them",
        )
    return found


def _unknown_operation(operation_id: str) -> SelectionError:
    return SelectionError(f"There is no operation {operation_id}", _LIST_OPERATIONS)


def _reopened(ledger: Ledger, operation: Operation) -> DeadLetterOffsets:
    """Return the dead letters that reverting an operation opens."""
    closed = ledger.closed_by(operation)
    if operation.kind != "replay":
        return closed
    if not ledger.is_unfinished(operation):
        return {}
    progress = ledger.progress.get(operation.id)
    return {
        partition: ranges.from_offset(progress.next_offset(partition) if progress else 0)
        for partition, ranges in closed.items()
    }


@dataclass(frozen=True, slots=True)
class OperationStatus:
    """Present status of an operation.

    Attributes:
        operation: the operation.
        state: "planned", "sending", "stopped" or "done" of a replay, "done" or "restored" else.
        result: outcomes of a replay, None for other operations.
    """

    operation: Operation
    state: str
    result: ReplayResult | None

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON object of `dead-letters status --json`."""
        operation = self.operation
        options = operation.shown_options
        outcome = None
        if self.result is not None:
            outcome = self.result._asdict()
            del outcome["replay_id"]
        return {
            "id": operation.id,
            "operation": operation.kind,
            "at": iso_time(operation.at),
            "who": operation.who,
            "what": operation.what,
            "why": operation.why,
            "dead_letters": operation.dead_letters,
            "state": self.state,
            "options": options,
            "outcome": outcome,
        }


def operation_statuses(
    admin: DeadLetterAdmin, operation_id: str | None = None
) -> list[OperationStatus]:
    """Return the statuses of all operations, newest last, or of one operation.

    Outcomes of a replay are read from the topics until all of them are known.

    Raises:
        SelectionError: there is no operation with this id.
    """
    ledger = admin.ledger()
    operations = [
        one
        for one in ledger.operations.values()
        if operation_id in (None, one.id) and one.kind != "restore"
    ]
    if operation_id is not None and not operations:
        raise _unknown_operation(operation_id)
    pending = [one for one in operations if one.kind == "replay" and not _is_final(ledger, one)]
    results = _read_results(admin, ledger, pending) if pending else {}
    return [
        OperationStatus(
            one, _state(ledger, one), results.get(one.id) or _recorded_result(ledger, one)
        )
        for one in operations
    ]


def _is_final(ledger: Ledger, replay: Operation) -> bool:
    """Return True if the recorded result of a replay does not change any more."""
    progress = ledger.progress.get(replay.id)
    if progress is None:
        return True
    result = progress.result
    unsettled = ("pending", "retrying", "waiting")
    return progress.state == "done" and not any(result.get(name) for name in unsettled)


def _recorded_result(ledger: Ledger, operation: Operation) -> ReplayResult | None:
    if operation.kind != "replay":
        return None
    progress = ledger.progress.get(operation.id)
    if progress is not None and progress.result:
        return ReplayResult(**progress.result)
    return ReplayResult(operation.id, 0, 0, {}, 0, 0, 0)


def _state(ledger: Ledger, operation: Operation) -> str:
    is_reverted = operation.id in ledger.reverted
    if operation.kind != "replay":
        return "restored" if is_reverted else "done"
    if is_reverted:
        return "stopped"
    progress = ledger.progress.get(operation.id)
    return "planned" if progress is None else progress.state


def _read_results(
    admin: DeadLetterAdmin, ledger: Ledger, replays: list[Operation]
) -> dict[str, ReplayResult]:
    """Return the results of replays from what the scorers have written since the first plan."""
    since = {
        partition: min(one.options["since"].get(partition, end) for one in replays)
        for partition, end in admin.outcome_ends().items()
    }
    topics = {topic for one in replays for topic in replay_topics(one)}
    reader = OutcomeReader(admin.config, admin.name, since)
    try:
        backlog = ReplayBacklog(admin, reader, topics).records(exact=True)
        retrying = admin.retrying_events()
        reader.read_to(admin.outcome_ends())
        counted = admin.counted_outcomes(with_ingest=INGEST_TOPIC in topics)
    finally:
        reader.close()
    return {
        one.id: replay_result(
            one,
            ledger.progress[one.id],
            reader.outcomes(one.id),
            counted.get(one.id, {}),
            backlog=backlog,
            retrying=retrying,
        )
        for one in replays
    }
