"""Errors of requests that pass by themselves, as when a leader or a coordinator moves."""

from confluent_kafka import KafkaError, KafkaException

LEADER_MOVES = frozenset(
    {
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.REPLICA_NOT_AVAILABLE,
        # A new leader does not know yet which records are committed.
        KafkaError.OFFSET_NOT_AVAILABLE,
        KafkaError.KAFKA_STORAGE_ERROR,
        # The leader has left the cluster: librdkafka frees its connection and the requests on it.
        KafkaError._DESTROY_BROKER,
    }
)
"""Answers for a partition whose leader is elsewhere now; the cluster can be reached."""

_TRANSIENT = LEADER_MOVES | {
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
    KafkaError.UNSTABLE_OFFSET_COMMIT,
    KafkaError.NOT_CONTROLLER,
    KafkaError.BROKER_NOT_AVAILABLE,
    KafkaError.NETWORK_EXCEPTION,
    KafkaError.REQUEST_TIMED_OUT,
    KafkaError.NOT_ENOUGH_REPLICAS,
    KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
    # Just after a topic was created.
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_PARTITION,
    KafkaError._NOENT,
    KafkaError._TIMED_OUT,
    KafkaError._TRANSPORT,
}


def is_transient(error: KafkaError) -> bool:
    """Return True for an error after which the same request may succeed soon."""
    return bool(error.retriable()) or error.code() in _TRANSIENT


def raised_transient(error: KafkaException) -> bool:
    """Return `is_transient` of the error in an exception."""
    return is_transient(error.args[0])
