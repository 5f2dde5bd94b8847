"""Errors that pass by themselves are retried, errors of the request are not."""

import pytest
from confluent_kafka import KafkaError, KafkaException

from stream_app.kafka.partition_reader import any_permanent
from stream_app.kafka.transient_errors import is_transient, raised_transient

MOVES = [
    KafkaError._DESTROY_BROKER,
    KafkaError.OFFSET_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
]


@pytest.mark.parametrize("code", [*MOVES, KafkaError.NOT_COORDINATOR, KafkaError._TRANSPORT])
def test_the_loss_of_a_broker_is_transient(code: int) -> None:
    assert is_transient(KafkaError(code))
    assert raised_transient(KafkaException(KafkaError(code)))


@pytest.mark.parametrize(
    "code",
    [
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.INVALID_CONFIG,
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError._FENCED,
    ],
)
def test_a_rejected_request_is_not_transient(code: int) -> None:
    assert not is_transient(KafkaError(code))


@pytest.mark.parametrize("code", MOVES)
def test_reading_continues_when_a_leader_moves(code: int) -> None:
    assert any_permanent("payments.raw", KafkaError(code)) is None


def test_reading_ends_with_an_error_when_a_topic_is_missing() -> None:
    assert any_permanent("payments.raw", KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)) is not None
