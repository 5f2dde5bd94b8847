"""The headers that a dead letter has on top of those it came with, and what they say."""

DEAD_LETTER_HEADERS = {
    "error-id": "The same for the same failure of the same record, whenever it is processed.",
    "error-code": "What went wrong, as a stable code.",
    "error-class": "Who has to act.",
    "error-stage": "Where in the pipeline it went wrong.",
    "error-message": "What went wrong, with names of fields and types, never values; at most 1,000 characters.",
    "error-exception": "Class of the exception, empty if none was raised.",
    "error-stacktrace": "Where it was raised, without the exception's text; at most the last 4,000 characters.",
    "error-fingerprint": "The same for all failures of one cause.",
    "error-attempts": "How often these bytes have failed.",
    "error-first-failed-at": "When they failed first: ISO 8601, UTC.",
    "error-last-failed-at": "When they failed last.",
    "original-topic": "Topic that the record was read from; of one that was sent again, when it failed first.",
    "original-partition": "Its partition.",
    "original-offset": "Its offset.",
    "original-timestamp": "Its Kafka timestamp, epoch milliseconds.",
    "model-version": "Version that would have scored it.",
    "schema-version": "Fingerprint of the pipeline's declaration.",
    "app-version": "Version of this program.",
    "replay-count": "How often it has been sent again.",
    "replay-id": "Which replay sent it last.",
    "original-size": "Only if the value was too large to be kept: its bytes. It is then null here.",
}
"""In the order in which they are written."""
