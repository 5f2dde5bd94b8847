"""Dead letters that both processors of the role `ingest` write, and their limit of sizes."""

from typing import NamedTuple

from stream_app.core.scoring.dead_letter import FailureContext, dead_letter, shortened
from stream_app.error_codes import Stage
from stream_app.headers import parse_source
from stream_app.records import ENVELOPE_BYTES, Failure, Output, Record, output_size
from stream_app.topic_kinds import DeadLetterKind, InputKind

DEAD_LETTERS_OF: dict[InputKind, DeadLetterKind] = {"raw": "raw.dlq", "labels": "labels.dlq"}
"""Topics of the dead letters of records that belong to an input."""


def size_problem(output: Output, max_bytes: int) -> Failure | None:
    """Return the failure of a record that is too large to be forwarded, or None."""
    _, _, key, value, headers = output
    # A key and one header besides are small.
    if len(headers) == 1 and len(value or b"") + len(key or b"") < max_bytes // 2:
        return None
    if output_size(output) <= max_bytes:
        return None
    source = parse_source(output.headers[0][1])
    name = "" if source is None else f" (source {source.source})"
    return Failure("output-too-large", f"the record exceeds {max_bytes} bytes{name}")


class IngestDeadLetters(NamedTuple):
    """Makes the dead letters of one partition.

    Attributes:
        context: this worker.
        partitions: partitions of the topics of dead letters.
        max_bytes: largest size of a record of the pipeline's input topics.
    """

    context: FailureContext
    partitions: int
    max_bytes: int

    def make(self, kind: DeadLetterKind, record: Record, failure: Failure, now: int) -> Output:
        """Return the dead letter of a record; a value that is too large is left out."""
        found = dead_letter(kind, record, failure, self.context, now, stage=Stage.INGEST)
        found = found._replace(partition=record.partition % self.partitions)
        fits = output_size(found) <= self.max_bytes + ENVELOPE_BYTES // 2
        return found if fits else shortened(found)
