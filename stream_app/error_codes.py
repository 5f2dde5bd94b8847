"""Failure codes of records: a stable code with its class, stage, meaning and remedy."""

from dataclasses import dataclass
from enum import StrEnum


class ErrorClass(StrEnum):
    """Cause of a failure, which determines who has to act; see `WHO_ACTS`."""

    TRANSIENT = "transient"
    POISON = "poison"
    CONTRACT = "contract"
    REFERENCE = "reference"
    MODEL = "model"
    BUG = "bug"


WHO_ACTS = {
    ErrorClass.TRANSIENT: "The operator of the external system. All retries have failed.",
    ErrorClass.POISON: "The operator of the pipeline: the record makes the worker process fail.",
    ErrorClass.CONTRACT: "The producer: the record violates the schema or the protocol.",
    ErrorClass.REFERENCE: "The producer: the record refers to another one that never arrived.",
    ErrorClass.MODEL: "The owner of the model.",
    ErrorClass.BUG: "The author of the pipeline file.",
}
"""Person who has to act, by class of a failure."""


class Stage(StrEnum):
    """Stage at which a record failed; `process` is any of them."""

    INGEST = "ingest"
    DECODE = "decode"
    VALIDATE = "validate"
    CLEAN = "clean"
    FEATURES = "features"
    PREDICT = "predict"
    JOIN = "join"
    OUTPUT = "output"
    PROCESS = "process"


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """Failure code of a record; codes are stable across versions."""

    code: str
    error_class: ErrorClass
    stage: Stage
    meaning: str
    remedy: str


UNREADABLE = "unreadable-record"
"""Code of a record whose bytes are unknown, as its batch cannot be decoded."""
LABEL_UNKNOWN = "label-unknown"
"""Code of a label whose value means neither true nor false."""
WRONG_PARTITION = "wrong-partition"
"""Code of a directly read record that is not in the partition of its key."""

_CODES = (
    ErrorCode(
        UNREADABLE,
        ErrorClass.CONTRACT,
        Stage.DECODE,
        "The batch of the record cannot be decoded: it is corrupt or its codec is unknown.",
        "Send the record again; the dead letter has only its coordinates, not its bytes.",
    ),
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
        "The value is JSON, but not an object.",
        "Send a JSON object, not an array or a scalar.",
    ),
    ErrorCode(
        "invalid-avro",
        ErrorClass.CONTRACT,
        Stage.DECODE,
        "The value is framed as Avro, but cannot be read with the schema of its id.",
        "Send the id of the writer schema, followed by one complete Avro record.",
    ),
    ErrorCode(
        "unknown-schema",
        ErrorClass.CONTRACT,
        Stage.DECODE,
        "The schema registry has no schema with the id in the value.",
        "Register the writer schema, and send its id.",
    ),
    ErrorCode(
        "not-finite",
        ErrorClass.CONTRACT,
        Stage.DECODE,
        "A number is NaN, infinite, or overflows a double.",
        "Send null for a missing number, not NaN or Infinity.",
    ),
    ErrorCode(
        "unknown-source",
        ErrorClass.CONTRACT,
        Stage.DECODE,
        "The header stream-app-source names no source of the pipeline.",
        "Declare the source by the name that it had, then replay the record.",
    ),
    ErrorCode(
        "invalid-envelope",
        ErrorClass.CONTRACT,
        Stage.DECODE,
        "The record does not have the envelope that its source declares.",
        "Correct the envelope of the source, or the connector's converter and transforms.",
    ),
    ErrorCode(
        "filter-failed",
        ErrorClass.BUG,
        Stage.INGEST,
        "The filter of the source raised an exception, or did not return True or False.",
        "Correct where of the source for records of this form, then replay the record.",
    ),
    ErrorCode(
        "missing-field",
        ErrorClass.CONTRACT,
        Stage.VALIDATE,
        "A required field is missing, or the id or key is empty.",
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
        "class-too-long",
        ErrorClass.CONTRACT,
        Stage.VALIDATE,
        "The class in a label has more than 200 characters; each scored record would carry it.",
        "Send a short name of the class, or declare the classes as an enum.",
    ),
    ErrorCode(
        LABEL_UNKNOWN,
        ErrorClass.CONTRACT,
        Stage.VALIDATE,
        "The value of a label is neither among those that mean true nor among those that mean "
        "false.",
        "Send no label while the truth is not known, or add the value to Label.positive or "
        "Label.negative under a new pipeline name.",
    ),
    ErrorCode(
        "missing-key",
        ErrorClass.CONTRACT,
        Stage.VALIDATE,
        "The record has no Kafka key, or an empty one.",
        "Send the partition key as the record's key.",
    ),
    ErrorCode(
        "key-mismatch",
        ErrorClass.CONTRACT,
        Stage.VALIDATE,
        "The Kafka key differs from the text of the key, or is not UTF-8.",
        "Send the text of the key, in UTF-8, as the record's key.",
    ),
    ErrorCode(
        WRONG_PARTITION,
        ErrorClass.CONTRACT,
        Stage.VALIDATE,
        "The record of a topic that is read directly is not in the partition of its key, where "
        "its labels and duplicates are.",
        "Give all producers of the topic the declared partitioner, or declare theirs; with "
        "several, leave direct out. Then replay the record: it goes to its partition.",
    ),
    ErrorCode(
        "event-time-invalid",
        ErrorClass.CONTRACT,
        Stage.VALIDATE,
        "The time field cannot be parsed as a time.",
        "Send ISO 8601 with an offset, or an integer in the unit of the schema (timestamp-millis: "
        "Unix milliseconds), or declare the unit that is sent, such as timestamp-seconds.",
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
        "The event is older than horizon + allowed lateness, so duplicates cannot be detected.",
        "Read the message. Send events in order of time, or increase allowed_lateness; check that "
        "no producer sends many events in a row with a wrong, later time.",
    ),
    ErrorCode(
        "rejected",
        ErrorClass.CONTRACT,
        Stage.CLEAN,
        "A cleaning step rejected the record.",
        "Read the message; correct the producer or the cleaning step.",
    ),
    ErrorCode(
        "cleaning-failed",
        ErrorClass.BUG,
        Stage.CLEAN,
        "A cleaning step raised an exception.",
        "See the stack trace; fix the step, then replay the record.",
    ),
    ErrorCode(
        "cleaning-unavailable",
        ErrorClass.TRANSIENT,
        Stage.CLEAN,
        "An external system used by a cleaning step did not answer, and retries are exhausted.",
        "Restore the system named in the message, then replay the record.",
    ),
    ErrorCode(
        "features-failed",
        ErrorClass.BUG,
        Stage.FEATURES,
        "The feature function raised an exception.",
        "See the stack trace; fix the function, then replay the record.",
    ),
    ErrorCode(
        "feature-invalid",
        ErrorClass.BUG,
        Stage.FEATURES,
        "The feature function returned a value that is not a valid feature.",
        "Return finite numbers, booleans and strings.",
    ),
    ErrorCode(
        "features-unavailable",
        ErrorClass.TRANSIENT,
        Stage.FEATURES,
        "An external system used by the features did not answer, and retries are exhausted.",
        "Restore the system named in the message, then replay the record.",
    ),
    ErrorCode(
        "model-failed",
        ErrorClass.MODEL,
        Stage.PREDICT,
        "The model raised an exception.",
        "See the stack trace; fix the model, then replay the record.",
    ),
    ErrorCode(
        "score-invalid",
        ErrorClass.MODEL,
        Stage.PREDICT,
        "The score is not a probability or, in regression, not a finite number.",
        "Use a model with probabilities, or a regressor that does not diverge: scale its features.",
    ),
    ErrorCode(
        "model-unavailable",
        ErrorClass.TRANSIENT,
        Stage.PREDICT,
        "An external system used by the model did not answer, and retries are exhausted.",
        "Restore the system named in the message, then replay the record.",
    ),
    ErrorCode(
        "model-too-slow",
        ErrorClass.MODEL,
        Stage.PREDICT,
        "The prediction exceeded limits.predict_seconds, and there is no fallback.",
        "Use a faster model, raise limits.predict_seconds, or declare a fallback.",
    ),
    ErrorCode(
        "completeness-invalid",
        ErrorClass.CONTRACT,
        Stage.VALIDATE,
        "A record without value has the header of a completeness record, and is none.",
        "Write completeness records with `stream-app labels complete`, or as docs/clock.md says.",
    ),
    ErrorCode(
        "unknown-event",
        ErrorClass.REFERENCE,
        Stage.JOIN,
        "No event arrived while its label waited, until event time passed label time + "
        "allowed lateness, or the state was full.",
        "Find the event with `stream-app explain`. Not sent: send it. A dead letter: fix and "
        "replay it. Sent later than the label's time + allowed_lateness: allow more lateness. Sent "
        "in time: check that both have the same id and key, and that producers use Java's "
        "partitioner. Then replay the label.",
    ),
    ErrorCode(
        "label-too-late",
        ErrorClass.CONTRACT,
        Stage.JOIN,
        "No prediction is open for the label, and it is too old to wait for its event: the "
        "prediction was closed before the label came, or there never was one.",
        "Send labels in order of time, or increase allowed_lateness; "
        "the message says what closed the predictions, and how much lateness is needed.",
    ),
    ErrorCode(
        "output-too-large",
        ErrorClass.CONTRACT,
        Stage.OUTPUT,
        "An output record would exceed the size limit of its topic.",
        "Send a smaller record, or raise "
        "STREAM_APP_TOPICS__MAX_MESSAGE_BYTES and the topic's limit.",
    ),
    ErrorCode(
        "record-crashes",
        ErrorClass.POISON,
        Stage.PROCESS,
        "Processing the record terminated the worker process.",
        "Preview the record alone, fix the code that crashes, then replay the record.",
    ),
    ErrorCode(
        "record-hangs",
        ErrorClass.POISON,
        Stage.PROCESS,
        "Processing the record exceeded limits.seconds.",
        "Preview the record alone, fix the code that hangs, then replay the record.",
    ),
    ErrorCode(
        "record-exhausts-memory",
        ErrorClass.POISON,
        Stage.PROCESS,
        "Processing the record exceeded limits.memory_mb.",
        "Reduce the memory that the code needs for one record, or raise the limit, then replay it.",
    ),
)

ERROR_CODES: dict[str, ErrorCode] = {code.code: code for code in _CODES}
