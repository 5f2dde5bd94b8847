"""Sends the records of a replay exactly once, rate-limited, and stops if too many fail again."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import psutil

from stream_app.clock import now_ms
from stream_app.dead_letters.dead_letter_admin import (
    DeadLetterAdmin,
    audit_entry,
    ledger_output,
    log_audits,
)
from stream_app.dead_letters.dead_letter_reader import DeadLetter, read_ref
from stream_app.dead_letters.ledger import (
    Ledger,
    Operation,
    ReplayProgress,
    partition_key,
    progress_record,
)
from stream_app.dead_letters.replay_outcomes import (
    OutcomeReader,
    ReplayBacklog,
    ReplayResult,
    replay_result,
)
from stream_app.dead_letters.replay_records import (
    INGEST_TOPIC,
    EditedRecord,
    ReplayRoute,
    replay_topics,
)
from stream_app.errors import FencedError, ReplayError
from stream_app.kafka.topic_uses import member_name
from stream_app.records import Output
from stream_app.schema_registry.schema_cache import open_schema_cache
from stream_app.telemetry.logs import operator
from stream_app.worker.transaction_writer import TransactionWriter

# Records of the first transactions, whose outcomes are awaited before more is sent.
PILOT_RECORDS = 200

# Limits of a transaction.
TRANSACTION_RECORDS = 10_000
_TRANSACTION_BYTES = 8 << 20

# Number of known outcomes from which the failure rate is computed.
MIN_OUTCOMES = 100

# Records that may wait for a worker at any time. Of larger replays, nine tenths may wait: the
# outcomes of one tenth are enough to compute the failure rate.
MAX_BACKLOG = 20_000

# A process on another machine that has written no progress for this time is considered dead.
_SILENCE_MS = 20_000

_POLL_SECONDS = 0.1

Editor = Callable[[DeadLetter], EditedRecord]
"""Returns the key and value with which a dead letter is sent."""

ReportProgress = Callable[[int, int], None]
"""Takes the number of records sent, and how many of them are known to have failed again."""


@dataclass(frozen=True, slots=True)
class SendLimits:
    """Limits of a replay.

    Attributes:
        rate: records per second, None for as fast as they are scored.
        max_failure_rate: share of failing records beyond which the replay stops, from 0 to 1.
    """

    rate: float | None = None
    max_failure_rate: float = 0.2

    def transaction_records(self, sent: int) -> int:
        """Return the size of the next transaction in records."""
        size = PILOT_RECORDS if sent < PILOT_RECORDS else TRANSACTION_RECORDS
        return size if self.rate is None else max(1, min(size, int(self.rate)))


class ReplayProducer:
    """Sends the remaining records of one replay.

    Each transaction holds records and the progress up to them, so that every dead letter is sent
    exactly once even if the process dies. A second producer of the same replay fences the first.

    Args:
        admin: connections of the pipeline.
        operation: the replay.
        route: where it sends the records.
        editor: applies the edit function.
        limits: rate and largest failure rate.
        report: takes the progress.
    """

    def __init__(
        self,
        admin: DeadLetterAdmin,
        operation: Operation,
        route: ReplayRoute,
        editor: Editor,
        limits: SendLimits,
        report: ReportProgress,
    ) -> None:
        self._admin = admin
        self._operation = operation
        self._editor = editor
        self._limits = limits
        self._report = report
        options = operation.options
        self._route = route
        self._reader = OutcomeReader(admin.config, admin.name, options["since"])

    def send(self) -> ReplayResult:
        """Send the records, wait for their outcomes, and close the replay.

        Raises:
            FencedError: another operator sends this replay.
            ReplayError: too many records fail again, or no scorer reads them.
        """
        check_not_running(self._operation, self._admin.ledger().progress.get(self._operation.id))
        try:
            return self._send()
        except FencedError:
            raise FencedError(
                f"Replay {self._operation.id} was taken over by another operator",
                "Follow it with `stream-app dead-letters status PIPELINE`",
            ) from None
        finally:
            self._reader.close()

    def _send(self) -> ReplayResult:
        # The order matters: the writer fences every other sender before the progress is read.
        writer = self._admin.writer(replay_transactional_id(self._admin.name, self._operation.id))
        ledger = self._admin.ledger(stable=True)
        if not ledger.is_unfinished(self._operation):
            raise ReplayError(
                f"Replay {self._operation.id} has been finished or stopped",
                "Start a new replay of the dead letters that are open",
            )
        previous = ledger.progress.get(self._operation.id) or ReplayProgress("sending", "", 0, 0)
        progress = replace(previous, who=operator(), process=os.getpid())
        backlog = ReplayBacklog(self._admin, self._reader, replay_topics(self._operation))
        started = time.monotonic()
        for outputs, reached in self._transactions(ledger, progress):
            progress = reached
            record = ledger_output(progress_record(self._operation.id, progress))
            writer.write([*outputs, record])
            writer.commit({}, None)
            self._check_failure_rate(backlog, writer, progress)
            if progress.sent <= PILOT_RECORDS:
                self._wait_for_outcomes(backlog)
            else:
                backlog.wait_until_below(max(MAX_BACKLOG, progress.sent * 9 // 10))
            self._check_failure_rate(backlog, writer, progress)
            self._limit_rate(started, progress.sent - previous.sent)
        self._wait_for_outcomes(backlog)
        retrying = self._admin.retrying_events()
        # Read again: an event whose retry ended before the count would look like a duplicate.
        self._reader.read_to(self._admin.outcome_ends())
        self._check_failure_rate(backlog, writer, progress)
        return self._finish(writer, progress, retrying)

    def _wait_for_outcomes(self, backlog: ReplayBacklog) -> None:
        """Wait until all records sent are processed, and read their outcomes."""
        backlog.wait_until_below(0, exact=True)
        self._reader.read_to(self._admin.outcome_ends())

    def _transactions(
        self, ledger: Ledger, progress: ReplayProgress
    ) -> Iterator[tuple[list[Output], ReplayProgress]]:
        """Yield the records of each transaction, and the progress with them."""
        outputs: list[Output] = []
        next_offsets, size, labels = dict(progress.next), 0, 0
        for dead_letter in self._unsent(ledger, progress):
            ref = dead_letter.ref
            output = self._route.output(dead_letter, self._editor(dead_letter))
            outputs.append(output)
            next_offsets[partition_key(ref.kind, ref.partition)] = ref.offset + 1
            size += len(output.value or b"")
            labels += ref.kind == "labels.dlq"
            if (
                len(outputs) >= self._limits.transaction_records(progress.sent)
                or size > _TRANSACTION_BYTES
            ):
                progress = _advanced(progress, len(outputs), labels, next_offsets)
                yield outputs, progress
                outputs, size, labels = [], 0, 0
        if outputs:
            yield outputs, _advanced(progress, len(outputs), labels, next_offsets)

    def _unsent(self, ledger: Ledger, progress: ReplayProgress) -> Iterator[DeadLetter]:
        """Yield the dead letters that are not sent yet, in the order of each partition."""
        schemas = open_schema_cache(self._admin.settings.registry)
        with self._admin.open_reader() as reader:
            for (kind, partition), ranges in sorted(ledger.offsets(self._operation).items()):
                start = max(progress.next_offset((kind, partition)), ranges.starts[0])
                end = ranges.ends[-1]
                bounds = {(self._admin.topic(kind), partition): (start, end)}
                for message in reader.records(bounds):
                    if message.offset() in ranges:
                        yield DeadLetter.of(read_ref(kind, message), message, schemas)

    def _limit_rate(self, started: float, sent: int) -> None:
        if self._limits.rate is None:
            return
        due = started + sent / self._limits.rate
        while (remaining := due - time.monotonic()) > 0:
            self._reader.poll()
            time.sleep(min(remaining, _POLL_SECONDS))

    def _check_failure_rate(
        self, backlog: ReplayBacklog, writer: TransactionWriter, progress: ReplayProgress
    ) -> None:
        """Stop the replay if too many of the known outcomes are failures."""
        self._reader.poll()
        outcomes = self._reader.outcomes(self._operation.id)
        failed, limit = outcomes.all_failed.total(), self._limits.max_failure_rate
        self._report(progress.sent, failed)
        # Too few to exceed the limit. This check avoids asking the cluster for the backlog.
        if failed < MIN_OUTCOMES * limit:
            return
        known = max(failed + outcomes.passed, progress.sent - backlog.records())
        if known < MIN_OUTCOMES or failed <= known * limit:
            return
        stopped = replace(progress, state="stopped", at=now_ms())
        self._write_end(writer, stopped, "stop", {"failed": failed})
        codes = ", ".join(f"{code} {count:,}" for code, count in outcomes.all_failed.most_common(3))
        unsent = self._operation.dead_letters - progress.sent
        raise ReplayError(
            f"Replay {self._operation.id} is stopped: {failed:,} of {known:,} failed again "
            f"({codes}), more than {limit:.0%}; the {unsent:,} that are not sent are open again",
            "Correct the cause, check it with `stream-app dead-letters try PIPELINE`, "
            "and replay the open dead letters",
        )

    def _finish(
        self, writer: TransactionWriter, progress: ReplayProgress, retrying: int
    ) -> ReplayResult:
        outcomes = self._reader.outcomes(self._operation.id)
        with_ingest = INGEST_TOPIC in replay_topics(self._operation)
        counted = self._admin.counted_outcomes(with_ingest=with_ingest)
        result = replay_result(
            self._operation,
            progress,
            outcomes,
            counted.get(self._operation.id, {}),
            backlog=0,
            retrying=retrying,
        )
        counts = {
            "passed": result.passed,
            "failed": sum(result.failed.values()),
            "duplicates": result.duplicates,
            "retrying": result.retrying,
            "pending": result.pending,
            "expired": result.expired,
            "waiting": result.waiting,
            "filtered": result.filtered,
            "tombstones": result.tombstones,
        }
        done = replace(progress, state="done", at=now_ms(), result=result._asdict())
        self._write_end(writer, done, "finish", counts)
        return result

    def _write_end(
        self,
        writer: TransactionWriter,
        progress: ReplayProgress,
        event: Literal["stop", "finish"],
        counts: Mapping[str, int],
    ) -> None:
        totals = {"dead_letters": self._operation.dead_letters, "sent": progress.sent}
        entry = audit_entry(self._operation, totals | dict(counts))
        entry = entry._replace(operation=event, who=progress.who, at=progress.at)
        audit = entry.output(self._admin.name)
        writer.write([ledger_output(progress_record(self._operation.id, progress)), audit])
        writer.commit({}, None)
        log_audits([audit])


def replay_transactional_id(pipeline: str, replay_id: str) -> str:
    """Return the transactional id that all producers of a replay share."""
    return member_name(pipeline, "replayer", f"replay.{replay_id}")


def check_not_running(operation: Operation, progress: ReplayProgress | None) -> None:
    """Check that no other process sends the replay, because this one would fence it.

    Raises:
        FencedError: another process sends the replay.
    """
    if progress is None or progress.state != "sending" or progress.process == os.getpid():
        return
    is_local = progress.who.rpartition("@")[2] == operator().rpartition("@")[2]
    if _is_running(progress) if is_local else now_ms() - progress.at < _SILENCE_MS:
        raise FencedError(
            f"{progress.who} is sending replay {operation.id} (process {progress.process}), "
            f"{progress.sent:,} records so far",
            "Wait for it, or stop it; the same command then resumes the replay",
        )


def _is_running(progress: ReplayProgress) -> bool:
    """Return True if the process still exists, and is not a later one with the same id."""
    try:
        return psutil.Process(progress.process).create_time() * 1000 < progress.at
    except psutil.Error:
        return False


def _advanced(
    progress: ReplayProgress, sent: int, labels: int, next_offsets: Mapping[str, int]
) -> ReplayProgress:
    return replace(
        progress,
        at=now_ms(),
        events=progress.events + sent - labels,
        labels=progress.labels + labels,
        next=dict(next_offsets),
    )
