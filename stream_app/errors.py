"""Everything that can go wrong, by name: errors that end a command, and codes that route a record."""

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar


class StreamAppError(Exception):
    """An expected failure of a command: one line that says what happened, one that says what to do."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}. {self.remedy}"


class SettingsError(StreamAppError):
    """A setting has a wrong value."""

    exit_code = 3


class PipelineError(StreamAppError):
    """The pipeline file is missing, does not load, or declares something that cannot work."""

    exit_code = 4


class KafkaUnavailableError(StreamAppError):
    """The cluster cannot be reached or does not let us in."""

    exit_code = 5


class TopicsError(StreamAppError):
    """A topic is missing or not as the pipeline needs it."""

    exit_code = 6


class ModelError(StreamAppError):
    """A model version is missing, damaged, or not of this pipeline."""

    exit_code = 7


class FencedError(StreamAppError):
    """Another process owns what this one was working on."""

    exit_code = 8


class DataLossError(StreamAppError):
    """Records that were not yet processed are gone from a topic; only a person can decide how to go on."""

    exit_code = 9


class BrokerError(StreamAppError):
    """The embedded broker cannot be fetched, started or stopped."""

    exit_code = 10


class InputError(StreamAppError):
    """An input file is missing or cannot be read."""

    exit_code = 11


class VerificationError(StreamAppError):
    """A run finished, but its books do not balance."""

    exit_code = 12


class AccessError(StreamAppError):
    """The cluster refuses us: a wrong password, a bad certificate, or a right that is missing."""

    exit_code = 13


class RegistryError(StreamAppError):
    """The schema registry cannot be reached, or a schema is missing there or not compatible."""

    exit_code = 14


class ErrorClass(StrEnum):
    """Who has to act on a failed record."""

    TRANSIENT = "transient"
    POISON = "poison"
    CONTRACT = "contract"
    REFERENCE = "reference"
    MODEL = "model"
    BUG = "bug"


class Stage(StrEnum):
    """Where in the pipeline a record failed."""

    DECODE = "decode"
    VALIDATE = "validate"
    CLEAN = "clean"
    FEATURES = "features"
    PREDICT = "predict"
    JOIN = "join"
    ROUTE = "route"


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """A stable code of a record's failure, with what to do about it."""

    code: str
    error_class: ErrorClass
    stage: Stage
    remedy: str


_CODES = (
    ErrorCode("empty-value", ErrorClass.CONTRACT, Stage.DECODE, "Send a JSON object; this topic has no tombstones."),
    ErrorCode("invalid-json", ErrorClass.CONTRACT, Stage.DECODE, "Send one UTF-8 JSON object per record."),
    ErrorCode("not-an-object", ErrorClass.CONTRACT, Stage.DECODE, "Send a JSON object, not an array or a scalar."),
    ErrorCode("invalid-avro", ErrorClass.CONTRACT, Stage.DECODE, "Send the schema's id and one whole Avro record."),
    ErrorCode("unknown-schema", ErrorClass.CONTRACT, Stage.DECODE, "Register the schema that the id stands for."),
    ErrorCode("not-finite", ErrorClass.CONTRACT, Stage.DECODE, "Send null for a missing number, not NaN or Infinity."),
    ErrorCode(
        "missing-field", ErrorClass.CONTRACT, Stage.VALIDATE, "Send the field, or give it a default in the schema."
    ),
    ErrorCode("wrong-type", ErrorClass.CONTRACT, Stage.VALIDATE, "Send the type that the schema declares."),
    ErrorCode("missing-key", ErrorClass.CONTRACT, Stage.VALIDATE, "Send the partition key as the record's key."),
    ErrorCode(
        "key-mismatch", ErrorClass.CONTRACT, Stage.VALIDATE, "The record's key must equal its key field, as UTF-8."
    ),
    ErrorCode(
        "event-time-invalid", ErrorClass.CONTRACT, Stage.VALIDATE, "Send ISO 8601 with offset, or epoch milliseconds."
    ),
    ErrorCode("event-in-future", ErrorClass.CONTRACT, Stage.VALIDATE, "Correct the producer's clock or the time zone."),
    ErrorCode(
        "event-too-late", ErrorClass.CONTRACT, Stage.VALIDATE, "The event is older than what is kept to recognise it."
    ),
    ErrorCode(
        "rejected", ErrorClass.CONTRACT, Stage.CLEAN, "A cleaning step refused the record; its message says why."
    ),
    ErrorCode("cleaning-failed", ErrorClass.BUG, Stage.CLEAN, "A cleaning step raised; mend it and replay."),
    ErrorCode("features-failed", ErrorClass.BUG, Stage.FEATURES, "The feature function raised; mend it and replay."),
    ErrorCode("feature-invalid", ErrorClass.BUG, Stage.FEATURES, "Features are finite numbers, booleans or strings."),
    ErrorCode("model-failed", ErrorClass.MODEL, Stage.PREDICT, "The model raised; see the stack trace and replay."),
    ErrorCode(
        "score-invalid", ErrorClass.MODEL, Stage.PREDICT, "The model's score is not a probability; roll it back."
    ),
    ErrorCode("unknown-event", ErrorClass.REFERENCE, Stage.JOIN, "No event came for this label within its horizon."),
    ErrorCode("output-too-large", ErrorClass.CONTRACT, Stage.ROUTE, "The scored record exceeds the topic's limit."),
)

ERROR_CODES: dict[str, ErrorCode] = {code.code: code for code in _CODES}
