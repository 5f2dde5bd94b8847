"""Replay of dead letters in three steps: prepare (reads only), decide (writes the plan), send."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from stream_app.clock import now_ms
from stream_app.dead_letters.access import open_dead_letters
from stream_app.dead_letters.dead_letter_admin import DeadLetterAdmin, PlannedOperation
from stream_app.dead_letters.dead_letter_reader import DeadLetter, DeadLetterRef
from stream_app.dead_letters.dead_letter_selection import DeadLetterSelection
from stream_app.dead_letters.dry_run import RecordEvaluator, open_evaluator
from stream_app.dead_letters.ledger import DeadLetterOffsets, Ledger, Operation, count_offsets
from stream_app.dead_letters.operations import nothing_open
from stream_app.dead_letters.replay_outcomes import ReplayResult
from stream_app.dead_letters.replay_plan import (
    ReplayPlan,
    ReplayPlanner,
    ReplayRequest,
    are_still_open,
    new_operation_id,
    ranges_by_partition,
)
from stream_app.dead_letters.replay_producer import ReplayProducer, ReportProgress, SendLimits
from stream_app.dead_letters.replay_records import (
    EditedRecord,
    EditFailure,
    EditFunction,
    RecordEditor,
    ReplayRoute,
)
from stream_app.errors import FencedError, ReplayError, SelectionError
from stream_app.pipeline import Pipeline
from stream_app.settings import Settings
from stream_app.telemetry.logs import operator
from stream_app.transfer.progress import report_progress


@dataclass(frozen=True)
class PreparedReplay:
    """Either an unfinished replay to resume, or the plan of a new one.

    Attributes:
        ledger: ledger from which the plan was made.
        operation: unfinished replay, None for a new one.
        plan: plan of a new replay, None for an unfinished one.
    """

    ledger: Ledger
    operation: Operation | None = None
    plan: ReplayPlan | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON object of the plan, or of the replay to resume."""
        if self.plan is None:
            return {"resumes": self.operation.id if self.operation else None}
        return self.plan.as_dict()


class Replay:
    """One replay of dead letters of a loaded pipeline.

    Args:
        settings: settings of the connections.
        pipeline: loaded pipeline.
        request: what the operator asks for.
        edit: edit function, if any.
    """

    def __init__(
        self,
        settings: Settings,
        pipeline: Pipeline,
        request: ReplayRequest,
        edit: EditFunction | None,
    ) -> None:
        self.admin = DeadLetterAdmin(settings, pipeline.name)
        self._settings = settings
        self._pipeline = pipeline
        self._request = request
        self._editor = RecordEditor(pipeline, edit)

    def prepare(self, selection: DeadLetterSelection, replay_id: str | None) -> PreparedReplay:
        """Find the unfinished replay of the same request, or plan a new one. Writes nothing.

        Raises:
            SelectionError: no selected dead letter is open.
            ModelError: the requested model version cannot be loaded.
        """
        ledger = self.admin.ledger()
        operation = self._find_unfinished(ledger, replay_id)
        if operation is not None:
            return PreparedReplay(ledger, operation=operation)
        evaluator = open_evaluator(self._settings, self._pipeline, self._request.model).evaluator
        with open_dead_letters(self._settings, self._pipeline) as dead_letters:
            index = dead_letters.index
            planner = self._planner(evaluator)
            refs = list(planner.open_refs(index.select(selection), ledger))
            if not refs:
                found = self._find_holder(ledger, index.select(selection), planner.plan)
                return PreparedReplay(ledger, operation=found)
            with report_progress("checking dead letters", len(refs)) as progress:
                for number, dead_letter in enumerate(dead_letters.reader.read(refs), start=1):
                    planner.add(dead_letter)
                    progress.update(number, number)
        # A pipeline that had no sources when its topics were created lacks one.
        self.admin.require(planner.plan.topics)
        return PreparedReplay(ledger, plan=planner.plan)

    def decide(self, prepared: PreparedReplay, why: str, replay_id: str | None) -> Operation | None:
        """Write the planned replay, and park the dead letters that were replayed too often.

        Returns:
            The replay, or None if there is nothing to send.

        Raises:
            FencedError: another operator has closed some of the dead letters since `prepare`.
        """
        plan, now = prepared.plan or ReplayPlan(), now_ms()
        send, park = ranges_by_partition(plan.send), ranges_by_partition(plan.park)
        decided: list[Operation] = []

        def plan_operations(ledger: Ledger) -> list[PlannedOperation]:
            existing = self._find_existing(ledger, send, replay_id)
            if existing is not None:
                decided.append(existing)
                return []
            if not all(are_still_open(ledger, prepared.ledger, one) for one in (send, park)):
                raise FencedError(
                    "Another operator has changed the state of these dead letters",
                    "Check the present state, and repeat the command if it is still needed",
                )
            planned: list[PlannedOperation] = []
            if send:
                name = replay_id or self._replay_id(ledger, send)
                replay = self._replay_operation(name, plan, send, why, now)
                decided.append(replay)
                counts = {"dead_letters": replay.dead_letters, "would_fail": plan.failing.total()}
                planned.append(PlannedOperation(replay, send, counts))
            if park:
                parking = self._park_operation(ledger, park, why, now)
                counts = {"dead_letters": parking.dead_letters}
                planned.append(PlannedOperation(parking, park, counts))
            return planned

        self.admin.transact(plan_operations)
        return decided[0] if decided else None

    def send(
        self, operation: Operation, limits: SendLimits, report: ReportProgress
    ) -> ReplayResult:
        """Send the remaining records; see `ReplayProducer.send`."""
        route = ReplayRoute.of(
            self._pipeline, operation.id, operation.options, self.admin.partitions
        )
        return ReplayProducer(self.admin, operation, route, self._edit, limits, report).send()

    def _replay_operation(
        self, replay_id: str, plan: ReplayPlan, offsets: DeadLetterOffsets, why: str, now: int
    ) -> Operation:
        topics = sorted(plan.topics)
        return Operation(
            replay_id,
            "replay",
            now,
            operator(),
            self._request.what,
            why,
            count_offsets(offsets),
            request=self._request.digest,
            options=self._request.options | {"topics": topics, "since": self.admin.outcome_ends()},
        )

    def _park_operation(
        self, ledger: Ledger, offsets: DeadLetterOffsets, why: str, now: int
    ) -> Operation:
        return Operation(
            new_operation_id(ledger, "park", offsets),
            "park",
            now,
            operator(),
            self._request.what,
            f"replayed {self._request.max_replays} times already: {why}",
            count_offsets(offsets),
        )

    def _edit(self, dead_letter: DeadLetter) -> EditedRecord:
        edited = self._editor(dead_letter)
        if edited is None or isinstance(edited, EditFailure):
            raise ReplayError(
                f"The edit function returns no value for dead letter {dead_letter.ref.error_id}, "
                "although it did when the replay was planned",
                "Make the function depend on the dead letter alone; "
                "`stream-app dead-letters restore` opens what is not sent",
            )
        return edited

    def _find_unfinished(self, ledger: Ledger, replay_id: str | None) -> Operation | None:
        named = ledger.operations.get(replay_id) if replay_id else None
        if named is not None:
            if not ledger.is_unfinished(named):
                raise SelectionError(
                    f"Replay {replay_id} is finished", "Give another --replay-id, or none"
                )
            if named.options["edit"] != self._request.edit:
                raise SelectionError(
                    f"Replay {replay_id} has another edit function",
                    "Give the same file and function with --edit",
                )
            return named
        if replay_id:
            return None
        unfinished = filter(ledger.is_unfinished, ledger.operations.values())
        return next((one for one in unfinished if one.request == self._request.digest), None)

    def _find_holder(
        self, ledger: Ledger, refs: Iterable[DeadLetterRef], plan: ReplayPlan
    ) -> Operation:
        """Return the unfinished replay of these dead letters if it has the requested options.

        The selection of that replay may differ in words. Raises `SelectionError` otherwise.
        """
        ids = {ledger.state_and_operation(ref)[1] for ref in refs}
        unfinished = [
            one for one in ledger.operations.values() if one.id in ids and ledger.is_unfinished(one)
        ]
        if len(unfinished) == 1:
            (operation,) = unfinished
            if self._request.options.items() <= operation.options.items():
                return operation
        raise nothing_open(self._request.what, plan.not_open, [one.id for one in unfinished])

    def _find_existing(
        self, ledger: Ledger, offsets: DeadLetterOffsets, replay_id: str | None
    ) -> Operation | None:
        """Return the same replay if another operator has just decided on it."""
        if not offsets:
            return None
        found = ledger.operations.get(replay_id or self._replay_id(ledger, offsets))
        if found is not None and found.request != self._request.digest:
            raise SelectionError(
                f"{found.id} is the id of another operation", "Give another --replay-id"
            )
        return found

    def _replay_id(self, ledger: Ledger, offsets: DeadLetterOffsets) -> str:
        return new_operation_id(ledger, "replay", offsets, self._request.digest)

    def _planner(self, evaluator: RecordEvaluator) -> ReplayPlanner:
        request = self._request
        route = ReplayRoute.of(self._pipeline, "planned", request.options, self.admin.partitions)
        max_bytes = self._settings.topics.max_message_bytes
        return ReplayPlanner(request, route, self._editor, evaluator, max_bytes)
