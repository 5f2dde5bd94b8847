"""Every metric of the system; a process shows those of its role at `/metrics`."""

from importlib.metadata import PackageNotFoundError, version
from typing import Final

from prometheus_client import Counter, Gauge, Histogram, Info

_LATENCY = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


def app_version() -> str:
    """Version of the installed package."""
    try:
        return version("stream-app")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "0+unknown"


# --- Every role ------------------------------------------------------------------------------------------------------

BUILD: Final = Info("stream_app_build", "Version of the running code.")
BUILD.info({"version": app_version()})

RECORDS: Final = Counter(
    "stream_app_records_total",
    "Records taken from an input topic, by what became of them (scored, dead-lettered, duplicate, joined, ...).",
    ["role", "topic", "outcome"],
)
BATCH_SECONDS: Final = Histogram(
    "stream_app_batch_seconds", "Time to process one fetched batch.", ["role"], buckets=_LATENCY
)
TRANSACTION_SECONDS: Final = Histogram(
    "stream_app_transaction_seconds",
    "From the first output of a transaction to its commit.",
    ["role"],
    buckets=_LATENCY,
)
TRANSACTIONS: Final = Counter(
    "stream_app_transactions_total", "Transactions by result: committed, aborted, retried, fenced.", ["role", "result"]
)
LAG: Final = Gauge(
    "stream_app_lag_records", "Records in an input partition that are not yet committed.", ["topic", "partition"]
)
RESTORE_SECONDS: Final = Gauge("stream_app_restore_seconds", "Time that restoring a task's state took.", ["partition"])
ASSIGNED: Final = Gauge("stream_app_assigned_partitions", "Partitions that this worker owns.", ["role"])

# --- Score -----------------------------------------------------------------------------------------------------------

DEAD_LETTERS: Final = Counter(
    "stream_app_dead_letters_total", "Dead letters by source topic and error code.", ["topic", "code"]
)
STATE_ENTRIES: Final = Gauge(
    "stream_app_state_entries", "Events kept to join labels and recognise duplicates.", ["partition", "status"]
)
WATERMARK: Final = Gauge(
    "stream_app_watermark_seconds",
    "Event time up to which a partition has seen its events, as epoch seconds.",
    ["partition"],
)
MODEL_VERSION: Final = Gauge(
    "stream_app_model_version", "Model version that is served (scorer) or was last published (learner)."
)
MODEL_LOADED: Final = Gauge(
    "stream_app_model_loaded_timestamp_seconds", "When that version was loaded, as epoch seconds."
)

# --- Learn -----------------------------------------------------------------------------------------------------------

EXAMPLES_LEARNED: Final = Counter("stream_app_examples_learned_total", "Labelled examples that the model has learned.")
PUBLISH_SECONDS: Final = Histogram(
    "stream_app_publish_seconds", "Time to store and announce a model version.", buckets=_LATENCY
)
CHECKPOINT_SECONDS: Final = Histogram(
    "stream_app_checkpoint_seconds", "Time to write a checkpoint of the learner.", buckets=_LATENCY
)
ALARMS: Final = Counter("stream_app_alarms_total", "Alarms raised on <pipeline>.monitoring.", ["kind"])
