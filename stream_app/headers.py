"""Names of the Kafka record headers that the program writes or reads."""

# Failure of a record: on dead letters.
ERROR_ID = "error-id"
ERROR_CODE = "error-code"
ERROR_CLASS = "error-class"
ERROR_STAGE = "error-stage"
ERROR_MESSAGE = "error-message"
ERROR_EXCEPTION = "error-exception"
ERROR_STACKTRACE = "error-stacktrace"
ERROR_FINGERPRINT = "error-fingerprint"
ERROR_ATTEMPTS = "error-attempts"
ERROR_FIRST_FAILED_AT = "error-first-failed-at"
ERROR_LAST_FAILED_AT = "error-last-failed-at"

# Origin of the failed record: on dead letters and on replayed records.
ORIGINAL_TOPIC = "original-topic"
ORIGINAL_PARTITION = "original-partition"
ORIGINAL_OFFSET = "original-offset"
ORIGINAL_TIMESTAMP = "original-timestamp"
ORIGINAL_SIZE = "original-size"

# Versions in use when the record failed: on dead letters.
MODEL_VERSION = "model-version"
SCHEMA_VERSION = "schema-version"
APP_VERSION = "app-version"

# Replay of a dead letter: on replayed records, and on dead letters that were replayed.
REPLAY_COUNT = "replay-count"
REPLAY_ID = "replay-id"

# Options of a replay, on replayed records. `REPLAY_LEARN` is "no" if the event must not become an
# example; `REPLAY_MODEL` is the version that scores the event instead of the served one.
REPLAY_LEARN = "replay-learn"
REPLAY_MODEL = "replay-model"

# W3C trace context, copied from raw records to scored records.
TRACEPARENT = "traceparent"

# Id of the Avro schema of the value, as Confluent's serializers write it.
VALUE_SCHEMA_ID = "__value_schema_id"

# Headers that the program adds to failed and replayed records begin with one of these.
REPLAY_PREFIX = "replay-"
FAILURE_HEADER_PREFIXES = ("error-", "original-", REPLAY_PREFIX)

# Headers of a dead letter in the order in which they are written, each with its documentation.
DEAD_LETTER_HEADERS = {
    ERROR_ID: "Identifies the failure; the same whenever the same record fails again.",
    ERROR_CODE: "Stable code of the failure.",
    ERROR_CLASS: "Class of the failure, which says who has to act.",
    ERROR_STAGE: "Stage of the pipeline that failed.",
    ERROR_MESSAGE: "Description with names of fields and types, never values; "
    "at most 1,000 characters.",
    ERROR_EXCEPTION: "Class of the exception, empty if none was raised.",
    ERROR_STACKTRACE: "Frames of the exception without its message; "
    "at most the last 4,000 characters.",
    ERROR_FINGERPRINT: "The same for all failures with the same cause.",
    ERROR_ATTEMPTS: "Number of times that these bytes have failed.",
    ERROR_FIRST_FAILED_AT: "Time of the first failure: ISO 8601, UTC.",
    ERROR_LAST_FAILED_AT: "Time of the last failure: ISO 8601, UTC.",
    ORIGINAL_TOPIC: "Topic from which the record was read; "
    "for a replayed record, that of its first failure.",
    ORIGINAL_PARTITION: "Partition of the original topic.",
    ORIGINAL_OFFSET: "Offset in the original partition.",
    ORIGINAL_TIMESTAMP: "Kafka timestamp of the original record in Unix milliseconds.",
    MODEL_VERSION: "Served model version when the record failed.",
    SCHEMA_VERSION: "Fingerprint of the pipeline's declaration.",
    APP_VERSION: "Version of this program.",
    REPLAY_COUNT: "Number of times that the record has been replayed.",
    REPLAY_ID: "Id of the last replay, empty if there was none.",
    ORIGINAL_SIZE: "Bytes of a value that is too large for the dead letter, "
    "whose own value is then null.",
}
