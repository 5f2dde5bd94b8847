"""Every Prometheus metric; a process exports those of its role at `/metrics`.

A worker adds the label `pipeline` to all of them when it serves them.
"""

from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

# Upper bounds of histogram buckets in seconds.
_LATENCY = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


def app_version() -> str:
    """Return the version of the installed package, or `0+unknown` if it is not installed."""
    try:
        return version("stream-app")
    except PackageNotFoundError:
        return "0+unknown"


# --- All roles ------------------------------------------------------------------------------------

BUILD: Final = Info("stream_app_build", "Version of the running code.")
BUILD.info({"version": app_version()})
WORKER: Final = Info("stream_app_worker", "Pipeline, role and instance of this worker.")
READY: Final = Gauge(
    "stream_app_ready", "1 if this worker processes records, 0 if it waits; as /readyz reports."
)
SOURCES: Final = Gauge("stream_app_sources", "Sources that the pipeline declares.")
RECORDS: Final = Counter(
    "stream_app_records_total",
    "Records of raw, labels or a source by outcome; dead letters are in "
    "stream_app_dead_letters_total.",
    ["role", "topic", "outcome"],
)
BATCH_SECONDS: Final = Histogram(
    "stream_app_batch_seconds", "Time to process one fetched batch.", ["role"], buckets=_LATENCY
)
TRANSACTION_SECONDS: Final = Histogram(
    "stream_app_transaction_seconds",
    "Time to end a transaction: state, offsets and commit.",
    ["role"],
    buckets=_LATENCY,
)
TRANSACTIONS: Final = Counter(
    "stream_app_transactions_total",
    "Transactions by result: committed, aborted (and retried), or fenced.",
    ["role", "result"],
)
LAG: Final = Gauge(
    "stream_app_lag_records",
    "Records of an input partition that are not yet processed.",
    ["topic", "partition"],
)
LAG_SECONDS: Final = Gauge(
    "stream_app_lag_seconds",
    "Age of the last record of an input partition when it was processed; 0 at its end.",
    ["topic", "partition"],
)
WAITING_PARTITIONS: Final = Gauge(
    "stream_app_waiting_partitions",
    "Input partitions that wait, by reason: schema-registry, trial-run, circuit-breaker, decision, "
    "source, alignment, watermark.",
    ["reason"],
)
OUTAGE: Final = Gauge(
    "stream_app_outage",
    "1 during an outage of this worker, by cause: kafka-unavailable, topic-missing, or fenced.",
    ["cause"],
)
RESTORE_SECONDS: Final = Gauge(
    "stream_app_restore_seconds", "Time to restore the state of a partition.", ["partition"]
)
ASSIGNED: Final = Gauge(
    "stream_app_assigned_partitions", "Partitions assigned to this worker.", ["role"]
)
CORRECTIVE_ACTIONS: Final = Counter(
    "stream_app_corrective_actions_total",
    "Automatic reactions to faults, such as imputed values by field and restarts by cause.",
    ["action", "cause"],
)
ALARMS_OPEN: Final = Gauge(
    "stream_app_alarms_open",
    "1 while an alarm is open, by its name, its source and its state: open, acknowledged or "
    "silenced. Alarms that workers raise themselves are always open.",
    ["name", "source", "state"],
)

# --- Score ----------------------------------------------------------------------------------------

DEAD_LETTERS: Final = Counter(
    "stream_app_dead_letters_total",
    "Dead letters by error code and by topic: raw (with its replays) or labels.",
    ["topic", "code"],
)
QUARANTINE_CANDIDATES: Final = Counter(
    "stream_app_quarantine_candidates_total",
    "Records that got a trial run because a worker may have crashed on them, by result: cleared, "
    "or the error code of the dead letter.",
    ["result"],
)
STATE_ENTRIES: Final = Gauge(
    "stream_app_state_entries",
    "Events kept to join labels and to detect duplicates.",
    ["partition", "status"],
)
STATE_LIMIT: Final = Gauge(
    "stream_app_state_limit_entries",
    "Maximum number of events kept per partition; beyond it the oldest are closed as expired.",
)
WATERMARK: Final = Gauge(
    "stream_app_watermark_seconds",
    "Clock of a partition: event time in Unix seconds, the least of the watermarks of its inputs.",
    ["partition"],
)
INPUT_WATERMARK: Final = Gauge(
    "stream_app_input_watermark_seconds",
    "Watermark of an input of a partition, raw or labels: event time in Unix seconds.",
    ["partition", "topic"],
)
SOURCE_WATERMARK: Final = Gauge(
    "stream_app_source_watermark_seconds",
    "Watermark of a partition of a source: event time in Unix seconds.",
    ["source", "partition"],
)
NOT_AWAITED: Final = Gauge(
    "stream_app_source_partitions_not_awaited",
    "Partitions of sources with unread records for which those ahead do not wait, as they do not "
    "advance.",
)
IDLE: Final = Gauge(
    "stream_app_input_idle_seconds",
    "Time that an input of a partition has had nothing to read; from idle_after on it holds "
    "nothing back.",
    ["partition", "topic"],
)
EVICTED: Final = Counter(
    "stream_app_evicted_total",
    "Entries removed because the state was full, by kind: open predictions, known ids or waiting "
    "labels.",
    ["kind"],
)
RETRYING: Final = Gauge(
    "stream_app_retrying_records",
    "Events that wait for a retry after a failure of an external system.",
    ["partition"],
)
DEGRADED: Final = Counter(
    "stream_app_degraded_total",
    "Predictions made by the fallback because the served version failed.",
)
BREAKER_OPEN: Final = Gauge(
    "stream_app_breaker_open",
    "1 while the circuit breaker of a partition is open.",
    ["partition"],
)
MODEL_VERSION: Final = Gauge(
    "stream_app_model_version", "Model version served (scorer) or last published (learner)."
)
MODEL_LOADED: Final = Gauge(
    "stream_app_model_loaded_timestamp_seconds",
    "Time when the served version was loaded, in Unix seconds.",
)

# --- Learn ----------------------------------------------------------------------------------------

EXAMPLES_LEARNED: Final = Counter(
    "stream_app_examples_learned_total", "Labelled examples that the model has learned."
)
EXAMPLES_NOT_LEARNED: Final = Counter(
    "stream_app_examples_not_learned_total",
    "Labelled examples that were evaluated only: learning or the source of the label was paused, "
    "an exclusion covers the label time, or the model could not learn them.",
    ["reason"],
)
PUBLISH_SECONDS: Final = Histogram(
    "stream_app_publish_seconds", "Time to publish a model version.", buckets=_LATENCY
)
CHECKPOINT_SECONDS: Final = Histogram(
    "stream_app_checkpoint_seconds", "Time to write a checkpoint of the learner.", buckets=_LATENCY
)

# --- Learn and monitor ----------------------------------------------------------------------------

MEASUREMENT: Final = Gauge(
    "stream_app_measurement",
    "Latest value of each measurement on <pipeline>.monitoring.",
    ["kind", "name", "reference"],
)
WINDOWS_PASSED: Final = Gauge(
    "stream_app_windows_passed_seconds",
    "Time that all partitions have passed in Unix seconds, by kind: events closes windows of "
    "scored records, clock those of labels.",
    ["kind"],
)
ALARMS: Final = Counter(
    "stream_app_alarms_total",
    "Measurements on <pipeline>.monitoring beyond their limit; see also stream_app_alarms_open.",
    ["kind"],
)


def clear_partition_metrics() -> None:
    """Remove the values of all partitions; their next owner exports them."""
    for gauge in (
        LAG,
        LAG_SECONDS,
        SOURCE_WATERMARK,
        RESTORE_SECONDS,
        STATE_ENTRIES,
        WATERMARK,
        RETRYING,
        BREAKER_OPEN,
        ALARMS_OPEN,
    ):
        gauge.clear()


class LabelledMetrics(Collector):
    """Collector of the metrics of another registry, with more labels.

    Args:
        registry: source of the metrics.
        labels: labels of each series that does not have them itself.
    """

    def __init__(self, registry: CollectorRegistry, labels: Mapping[str, str]) -> None:
        self._registry = registry
        self._labels = dict(labels)

    def describe(self) -> Iterable[Metric]:
        """Return nothing: the other registry has checked the names."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics as they are now."""
        for metric in self._registry.collect():
            labelled = Metric(metric.name, metric.documentation, metric.type, metric.unit)
            labelled.samples = [
                sample._replace(labels={**self._labels, **sample.labels})
                for sample in metric.samples
            ]
            yield labelled


def labelled_registry(
    labels: Mapping[str, str], registry: CollectorRegistry = REGISTRY
) -> CollectorRegistry:
    """Return a registry with the metrics of another one, each with these labels."""
    found = CollectorRegistry()
    found.register(LabelledMetrics(registry, labels))
    return found
