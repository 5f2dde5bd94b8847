"""What can go wrong with a record, by its stable code: whose matter it is, at which stage, and what to do."""

from dataclasses import dataclass
from enum import StrEnum


class ErrorClass(StrEnum):
    """Who has to act on a failed record."""

    TRANSIENT = "transient"
    POISON = "poison"
    CONTRACT = "contract"
    REFERENCE = "reference"
    MODEL = "model"
    BUG = "bug"


WHO_ACTS = {
    ErrorClass.TRANSIENT: "Whoever runs what did not answer; the record was tried again before, in vain.",
    ErrorClass.POISON: "Whoever runs the pipeline: the record harms the worker itself.",
    ErrorClass.CONTRACT: "The producer: the record is not what was agreed.",
    ErrorClass.REFERENCE: "The producer: what the record refers to never came.",
    ErrorClass.MODEL: "Whoever owns the model.",
    ErrorClass.BUG: "Whoever wrote the pipeline's file.",
}
"""By class of a failure."""


class Stage(StrEnum):
    """Where in the pipeline a record failed; `process` is anywhere in the code of its pipeline."""

    DECODE = "decode"
    VALIDATE = "validate"
    CLEAN = "clean"
    FEATURES = "features"
    PREDICT = "predict"
    JOIN = "join"
    ROUTE = "route"
    PROCESS = "process"


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """A stable code of a record's failure, with what it says and what to do about it."""

    code: str
    error_class: ErrorClass
    stage: Stage
    meaning: str
    remedy: str


_CODES = (
    ErrorCode(
        "empty-value",
        ErrorClass.CONTRACT,
        Stage.DECODE,
        "The value is null or empty.",
        "Send a JSON object; this topic has no tombstones.",
    ),
    ErrorCode(
        "invalid-json",
        ErrorClass.CONTRACT,
        Stage.DECODE,
        "The value is not JSON in UTF-8.",
        "Send one UTF-8 JSON object per record.",
    ),
    ErrorCode(
        "not-an-object",
        ErrorClass.CONTRACT,
        Stage.DECODE,
        "The value is JSON, but no object.",
        "Send a JSON object, not an array or a scalar.",
    ),
    ErrorCode(
        "invalid-avro",
        ErrorClass.CONTRACT,
        Stage.DECODE,
        "The value begins as Avro does, but cannot be read with the schema that it names.",
        "Send the schema's id and one whole Avro record.",
    ),
    ErrorCode(
        "unknown-schema",
        ErrorClass.CONTRACT,
        Stage.DECODE,
        "The registry knows no schema by the id that the value begins with.",
        "Register the schema that the id stands for.",
    ),
    ErrorCode(
        "not-finite",
        ErrorClass.CONTRACT,
        Stage.DECODE,
        "A number is NaN or infinite, or too large to be finite.",
        "Send null for a missing number, not NaN or Infinity.",
    ),
    ErrorCode(
        "missing-field",
        ErrorClass.CONTRACT,
        Stage.VALIDATE,
        "A field that the schema requires is missing, or the id or key is empty.",
        "Send the field, or give it a default in the schema.",
    ),
    ErrorCode(
        "wrong-type",
        ErrorClass.CONTRACT,
        Stage.VALIDATE,
        "A field is not of the type that the schema declares.",
        "Send the type that the schema declares.",
    ),
    ErrorCode(
        "missing-key",
        ErrorClass.CONTRACT,
        Stage.VALIDATE,
        "The record has no Kafka key.",
        "Send the partition key as the record's key.",
    ),
    ErrorCode(
        "key-mismatch",
        ErrorClass.CONTRACT,
        Stage.VALIDATE,
        "The Kafka key is not the text of the key field.",
        "Send the key field's text, in UTF-8, as the record's key.",
    ),
    ErrorCode(
        "event-time-invalid",
        ErrorClass.CONTRACT,
        Stage.VALIDATE,
        "The field with the time is no time.",
        "Send ISO 8601 with offset, or epoch milliseconds.",
    ),
    ErrorCode(
        "event-in-future",
        ErrorClass.CONTRACT,
        Stage.VALIDATE,
        "The time is more than a day ahead of the worker's clock.",
        "Correct the producer's clock or the time zone.",
    ),
    ErrorCode(
        "event-too-late",
        ErrorClass.CONTRACT,
        Stage.VALIDATE,
        "The event is older than horizon + allowed lateness; whether it is a duplicate cannot be told.",
        "Send events sooner, or allow more lateness under a new pipeline name.",
    ),
    ErrorCode(
        "rejected",
        ErrorClass.CONTRACT,
        Stage.CLEAN,
        "A cleaning step refused the record.",
        "See the message; correct the producer, or the step.",
    ),
    ErrorCode(
        "cleaning-failed",
        ErrorClass.BUG,
        Stage.CLEAN,
        "A cleaning step raised an exception.",
        "See the stack trace; mend the step, and send the record again.",
    ),
    ErrorCode(
        "cleaning-unavailable",
        ErrorClass.TRANSIENT,
        Stage.CLEAN,
        "What a cleaning step asks did not answer, however often the step was tried again.",
        "Bring back what the message names, and send the record again.",
    ),
    ErrorCode(
        "features-failed",
        ErrorClass.BUG,
        Stage.FEATURES,
        "The feature function raised an exception.",
        "See the stack trace; mend the function, and send the record again.",
    ),
    ErrorCode(
        "feature-invalid",
        ErrorClass.BUG,
        Stage.FEATURES,
        "The feature function returned something that a model cannot take.",
        "Return finite numbers, booleans and strings.",
    ),
    ErrorCode(
        "features-unavailable",
        ErrorClass.TRANSIENT,
        Stage.FEATURES,
        "What the feature function asks did not answer, however often it was tried again.",
        "Bring back what the message names, and send the record again.",
    ),
    ErrorCode(
        "model-failed",
        ErrorClass.MODEL,
        Stage.PREDICT,
        "The model raised an exception.",
        "See the stack trace; mend the model, and send the record again.",
    ),
    ErrorCode(
        "score-invalid",
        ErrorClass.MODEL,
        Stage.PREDICT,
        "The model's score is no probability, or, where the label is a number, no finite one.",
        "Choose a model that gives probabilities, or a regressor that does not diverge: scale its features.",
    ),
    ErrorCode(
        "model-unavailable",
        ErrorClass.TRANSIENT,
        Stage.PREDICT,
        "What the model asks did not answer, however often it was tried again.",
        "Bring back what the message names, and send the record again.",
    ),
    ErrorCode(
        "model-too-slow",
        ErrorClass.MODEL,
        Stage.PREDICT,
        "The model took longer than its budget, and there is no fallback.",
        "Choose a cheaper model, a larger budget or a fallback.",
    ),
    ErrorCode(
        "unknown-event",
        ErrorClass.REFERENCE,
        Stage.JOIN,
        "A label waited for its event until its time was up.",
        "Send the event; check that both have the same id and key, and Java's partitioner.",
    ),
    ErrorCode(
        "output-too-large",
        ErrorClass.CONTRACT,
        Stage.ROUTE,
        "What would have to be written exceeds the limit of its topic.",
        "Send a smaller record, or raise STREAM_APP_TOPICS__MAX_MESSAGE_BYTES and the topics' own limit.",
    ),
    ErrorCode(
        "record-crashes",
        ErrorClass.POISON,
        Stage.PROCESS,
        "Processing the record ended the worker's process.",
        "Try the record by itself, mend the code that crashes, and send it again.",
    ),
    ErrorCode(
        "record-hangs",
        ErrorClass.POISON,
        Stage.PROCESS,
        "Processing the record exceeded its time budget.",
        "Try the record by itself, mend the code that hangs, and send it again.",
    ),
    ErrorCode(
        "record-exhausts-memory",
        ErrorClass.POISON,
        Stage.PROCESS,
        "Processing the record took more memory than the worker has.",
        "Bound what the code makes of one record, or give the worker more memory, and send it again.",
    ),
)

ERROR_CODES: dict[str, ErrorCode] = {code.code: code for code in _CODES}
