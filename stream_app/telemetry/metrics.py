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
WORKER: Final = Info(
    "stream_app_worker", "Which pipeline, role and member of its group this process is."
)
READY: Final = Gauge(
    "stream_app_ready", "1 while this worker processes records, 0 while it waits, as /readyz tells."
)

RECORDS: Final = Counter(
    "stream_app_records_total",
    "Raw records and labels by what became of them; dead letters are counted by stream_app_dead_letters_total.",
    ["role", "topic", "outcome"],
)
BATCH_SECONDS: Final = Histogram(
    "stream_app_batch_seconds", "Time to process one fetched batch.", ["role"], buckets=_LATENCY
)
TRANSACTION_SECONDS: Final = Histogram(
    "stream_app_transaction_seconds",
    "Of a transaction, the time that its end takes: offsets, and the commit.",
    ["role"],
    buckets=_LATENCY,
)
TRANSACTIONS: Final = Counter(
    "stream_app_transactions_total",
    "Transactions by result: committed, aborted (then tried again), fenced.",
    ["role", "result"],
)
LAG: Final = Gauge(
    "stream_app_lag_records",
    "Records in an input partition that are not yet processed.",
    ["topic", "partition"],
)
LAG_SECONDS: Final = Gauge(
    "stream_app_lag_seconds",
    "How old the last record of an input partition was when it was processed; 0 at the partition's end.",
    ["topic", "partition"],
)
REGISTRY_WAITING: Final = Gauge(
    "stream_app_registry_waiting",
    "Input partitions that stand still because the registry does not answer with the schema of a record.",
)
PAUSED: Final = Gauge(
    "stream_app_paused",
    "1 while this worker cannot go on and waits, by cause: kafka-unavailable, topic-missing, or fenced.",
    ["cause"],
)
RESTORE_SECONDS: Final = Gauge(
    "stream_app_restore_seconds", "Time that restoring a task's state took.", ["partition"]
)
ASSIGNED: Final = Gauge(
    "stream_app_assigned_partitions", "Partitions that this worker owns.", ["role"]
)

CORRECTIVE_ACTIONS: Final = Counter(
    "stream_app_corrective_actions_total",
    "What was done about a fault without anyone's help, such as imputed values by field and restarts by their cause.",
    ["action", "cause"],
)
ALARMS_OPEN: Final = Gauge(
    "stream_app_alarms_open",
    "1 while an alarm lasts, by its name and the worker or task that raised it.",
    ["name", "source"],
)

# --- Score -----------------------------------------------------------------------------------------------------------

DEAD_LETTERS: Final = Counter(
    "stream_app_dead_letters_total",
    "Dead letters by source topic and error code.",
    ["topic", "code"],
)
SUSPECTS: Final = Counter(
    "stream_app_suspects_total",
    "Records tried in a child process because a worker ended while it worked on them, or soon after: `acquitted`, or "
    "the code of the dead letter.",
    ["verdict"],
)
STATE_ENTRIES: Final = Gauge(
    "stream_app_state_entries",
    "Events kept to join labels and recognise duplicates.",
    ["partition", "status"],
)
STATE_LIMIT: Final = Gauge(
    "stream_app_state_limit_entries",
    "Events that a partition may keep; beyond it the oldest are closed as expired.",
)
WATERMARK: Final = Gauge(
    "stream_app_watermark_seconds",
    "Event time up to which a partition has seen events and labels, as epoch seconds.",
    ["partition"],
)
RETRYING: Final = Gauge(
    "stream_app_retrying_records",
    "Events that failed for a reason outside and wait to be tried again.",
    ["partition"],
)
DEGRADED: Final = Counter(
    "stream_app_degraded_total",
    "Predictions that the version that is served did not make, because it failed.",
)
BREAKER_OPEN: Final = Gauge(
    "stream_app_breaker_open",
    "1 while a partition's events pause because most of them fail.",
    ["partition"],
)
MODEL_VERSION: Final = Gauge(
    "stream_app_model_version",
    "Model version that is served (scorer) or was last published (learner).",
)
MODEL_LOADED: Final = Gauge(
    "stream_app_model_loaded_timestamp_seconds",
    "When the version that is served was loaded, as epoch seconds.",
)

# --- Learn -----------------------------------------------------------------------------------------------------------

EXAMPLES_LEARNED: Final = Counter(
    "stream_app_examples_learned_total", "Labelled examples that the model has learned."
)
PUBLISH_SECONDS: Final = Histogram(
    "stream_app_publish_seconds", "Time to store and announce a model version.", buckets=_LATENCY
)
CHECKPOINT_SECONDS: Final = Histogram(
    "stream_app_checkpoint_seconds", "Time to write a checkpoint of the learner.", buckets=_LATENCY
)

# --- Learn and monitor -----------------------------------------------------------------------------------------------

MEASUREMENT: Final = Gauge(
    "stream_app_measurement",
    "Newest value of each measurement on <pipeline>.monitoring.",
    ["kind", "name", "reference"],
)
ALARMS: Final = Counter(
    "stream_app_alarms_total",
    "Measurements on <pipeline>.monitoring that breached their limit; those that last are in stream_app_alarms_open.",
    ["kind"],
)


def forget_partitions() -> None:
    """Show no partition any more; whoever owns them next does."""
    for gauge in (
        LAG,
        LAG_SECONDS,
        RESTORE_SECONDS,
        STATE_ENTRIES,
        WATERMARK,
        RETRYING,
        BREAKER_OPEN,
        ALARMS_OPEN,
    ):
        gauge.clear()
