"""Sending the letters of a replay: in order, each once, at most so fast, and not on if they fail again."""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import psutil

from stream_app.clock import now_ms
from stream_app.dead_letters.dead_letter_admin import (
    DeadLetterAdmin,
    audit_record,
    ledger_output,
    log_act,
)
from stream_app.dead_letters.dead_letter_record import DeadLetter
from stream_app.dead_letters.ledger import Ledger, progress_record
from stream_app.dead_letters.operations import Operation, ReplayProgress, place_text
from stream_app.dead_letters.registry_schemas import registry_schemas
from stream_app.dead_letters.replay_outcomes import OutcomeWatch, SentRecord, result
from stream_app.dead_letters.replay_rate import ReplayRate
from stream_app.dead_letters.replay_records import ReplayRoute, letter_of
from stream_app.errors import FencedError, ReplayError
from stream_app.records import Output
from stream_app.telemetry.operator_identity import operator
from stream_app.transfer.consume import between
from stream_app.worker.transaction_writer import TransactionWriter

CHUNK = 10_000  # records of a transaction
PILOT = 200  # records that go ahead of the others
LEAST = 100  # outcomes of which the relapses are judged
AHEAD = 20_000  # records that may wait for a scorer, whatever is known of those before them
_BYTES = 8 << 20  # of a transaction
_SILENT_MS = 20_000  # after which the sender on another machine is taken for dead


@dataclass(frozen=True, slots=True)
class SendRate:
    """At most `rate` records a second (None: as fast as they are scored), until more than `relapse` fail again."""

    rate: float | None = None
    relapse: float = 0.2


Edit = Callable[[DeadLetter], tuple[bytes | None, bytes | None]]
"""Gives the key and the value with which a dead letter is sent."""

Report = Callable[[int, int], None]
"""Takes how many records are sent, and how many of them are known to have failed again."""


class ReplayProducer:
    """Sends what is left of one replay. Another sender of it is fenced: each letter is sent in one transaction with the
    note that it was, so it is sent once, whoever dies when.
    """

    def __init__(
        self, desk: DeadLetterAdmin, act: Operation, edit: Edit, pace: SendRate, report: Report
    ) -> None:
        self._desk = desk
        self._act = act
        self._edit = edit
        self._pace = pace
        self._report = report
        options = act.options
        self._route = ReplayRoute(
            act.id, options["to"] == "source", options["learn"], options["model"], desk.partitions
        )
        self._watch = OutcomeWatch(desk.config, desk.name, options["since"])

    def send(self) -> SentRecord:
        """Send, wait for the outcomes, and close the replay.

        Raises FencedError if somebody else sends it, ReplayError if too many fail again or nobody scores them.
        """
        refuse_if_alive(self._act, self._desk.ledger().progress.get(self._act.id))
        try:
            return self._send()
        except FencedError:
            raise FencedError(
                f"Replay {self._act.id} was taken over by another operator",
                "See `stream-app dead-letters status`",
            ) from None
        finally:
            self._watch.close()

    def _send(self) -> SentRecord:
        writer = self._desk.writer(replay_writer(self._desk.name, self._act.id))
        ledger = self._desk.ledger(settled=True)
        if not ledger.unfinished(self._act):
            raise ReplayError(
                f"Replay {self._act.id} has been finished or stopped",
                "Select what is open, and replay",
            )
        before = ledger.progress.get(self._act.id) or ReplayProgress("sending", "", 0, 0)
        progress = replace(before, who=operator(), process=os.getpid())
        flow = ReplayRate(
            self._desk,
            self._watch,
            {self._route.topic(kind) for kind, _ in ledger.letters(self._act)},
        )
        started = time.monotonic()
        for outputs, reached in self._chunks(ledger, progress):
            progress = reached
            writer.write([*outputs, ledger_output(progress_record(self._act.id, progress))])
            writer.commit({}, None)
            self._judge(flow, writer, progress)
            if progress.sent <= PILOT:
                self._await_outcomes(flow)
            else:
                flow.await_backlog(
                    max(AHEAD, progress.sent * 9 // 10)
                )  # a tenth is evidence enough
            self._judge(flow, writer, progress)
            self._keep_pace(flow, started, progress.sent - before.sent)
        self._await_outcomes(flow)
        retrying = self._desk.retrying()
        self._watch.read_to(
            self._desk.watched_ends()
        )  # again, or what has ended meanwhile would be a duplicate
        self._judge(flow, writer, progress)
        return self._finish(writer, progress, retrying)

    def _await_outcomes(self, flow: ReplayRate) -> None:
        """Until everything that is sent has been processed, and what became of it is known."""
        flow.await_backlog(0, exact=True)
        self._watch.read_to(self._desk.watched_ends())

    def _chunks(
        self, ledger: Ledger, progress: ReplayProgress
    ) -> Iterator[tuple[list[Output], ReplayProgress]]:
        """What is sent in one transaction, and how far the replay is with it."""
        outputs: list[Output] = []
        reached, size, labels = dict(progress.next), 0, 0
        for letter in self._letters(ledger, progress):
            ref = letter.ref
            key, value = self._edit(letter)
            sent = self._route.outgoing(letter, key, value)
            outputs.append(Output(sent.topic, sent.partition, sent.key, sent.value, sent.headers))
            reached[place_text(ref.kind, ref.partition)] = ref.offset + 1
            size += len(value or b"")
            labels += ref.kind == "labels.dlq"
            if len(outputs) >= self._most(progress.sent) or size > _BYTES:
                progress = _advanced(progress, len(outputs), labels, reached)
                yield outputs, progress
                outputs, size, labels = [], 0, 0
        if outputs:
            yield outputs, _advanced(progress, len(outputs), labels, reached)

    def _most(self, sent: int) -> int:
        most = PILOT if sent < PILOT else CHUNK
        return most if self._pace.rate is None else max(1, min(most, int(self._pace.rate)))

    def _letters(self, ledger: Ledger, progress: ReplayProgress) -> Iterator[DeadLetter]:
        """The letters that are not sent yet, those of a partition in their order."""
        schemas = registry_schemas(self._desk.settings)
        with self._desk.consumer() as (consumer, errors):
            for (kind, partition), runs in sorted(ledger.letters(self._act).items()):
                start, end = max(progress.next_of((kind, partition)), runs.starts[0]), runs.ends[-1]
                place = self._desk.topic(kind), partition
                for batch in between(
                    consumer, errors, {place: (start, end)} if start < end else {}
                ):
                    yield from (
                        letter_of(kind, message, schemas)
                        for message in batch
                        if message.offset() in runs
                    )

    def _keep_pace(self, flow: ReplayRate, started: float, sent: int) -> None:
        if self._pace.rate is None:
            return
        due = started + sent / self._pace.rate
        while (left := due - time.monotonic()) > 0:
            flow.look()
            time.sleep(min(left, 0.1))

    def _judge(self, flow: ReplayRate, writer: TransactionWriter, progress: ReplayProgress) -> None:
        """Stop if too many of those whose outcome is known have failed again."""
        flow.look()
        outcomes = self._watch.of(self._act.id)
        failed = outcomes.again.total()
        self._report(progress.sent, failed)
        if failed < LEAST * self._pace.relapse:
            return
        known = max(failed + outcomes.passed, progress.sent - flow.backlog())
        if known < LEAST or failed <= known * self._pace.relapse:
            return
        self._end(writer, replace(progress, state="stopped", at=_now()), "stop", {"failed": failed})
        codes = ", ".join(f"{code} {count:,}" for code, count in outcomes.again.most_common(3))
        unsent = self._act.letters - progress.sent
        raise ReplayError(
            f"Replay {self._act.id} is stopped: {failed:,} of {known:,} failed again ({codes}), more than "
            f"{self._pace.relapse:.0%}; the {unsent:,} that are not sent are open again",
            "Mend it, see that `stream-app dead-letters try` passes, and replay what is open",
        )

    def _finish(
        self, writer: TransactionWriter, progress: ReplayProgress, retrying: int
    ) -> SentRecord:
        sent = result(self._act, progress, self._watch.of(self._act.id), 0, retrying)
        counts = {"passed": sent.passed, "failed": sum(sent.failed.values())}
        counts |= {
            "duplicates": sent.duplicates,
            "retrying": sent.retrying,
            "pending": sent.pending,
        }
        self._end(
            writer,
            replace(progress, state="done", at=_now(), result=sent._asdict()),
            "finish",
            counts,
        )
        return sent

    def _end(
        self, writer: TransactionWriter, progress: ReplayProgress, done: str, counts: dict[str, int]
    ) -> None:
        counts = {"letters": self._act.letters, "sent": progress.sent, **counts}
        audit = audit_record(
            self._desk.name, self._act, done, progress.who, self._act.why, progress.at, counts
        )
        writer.write([ledger_output(progress_record(self._act.id, progress)), audit])
        writer.commit({}, None)
        log_act(audit)


def replay_writer(pipeline: str, replay_id: str) -> str:
    """The transactional id of a replay: one sender at a time."""
    return f"{pipeline}-replay-{replay_id}"


def _advanced(
    progress: ReplayProgress, sent: int, labels: int, reached: dict[str, int]
) -> ReplayProgress:
    return replace(
        progress,
        at=_now(),
        events=progress.events + sent - labels,
        labels=progress.labels + labels,
        next=dict(reached),
    )


def refuse_if_alive(act: Operation, progress: ReplayProgress | None) -> None:
    """Not to fence a sender that works: the other one's mistake is more likely than ours."""
    if progress is None or progress.state != "sending" or progress.process == os.getpid():
        return
    here = progress.who.rpartition("@")[2] == operator().rpartition("@")[2]
    if _runs(progress) if here else _now() - progress.at < _SILENT_MS:
        raise FencedError(
            f"{progress.who} is sending replay {act.id} (process {progress.process}), {progress.sent:,} so far",
            "Wait for it, or stop it; whoever repeats the command then goes on where it stopped",
        )


def _runs(progress: ReplayProgress) -> bool:
    """Whether that process is still there, and is not a later one with its number."""
    try:
        return psutil.Process(progress.process).create_time() * 1000 < progress.at
    except psutil.Error:
        return False


def _now() -> int:
    return now_ms()
