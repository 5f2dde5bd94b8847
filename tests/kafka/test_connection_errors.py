"""The error that is reported when a cluster cannot be reached."""

import pytest
from confluent_kafka import KafkaError

from stream_app.kafka.clients import ConnectionErrors
from stream_app.settings import KafkaSettings


@pytest.fixture
def errors() -> ConnectionErrors:
    return ConnectionErrors("kafka:9092", KafkaSettings(bootstrap_servers="kafka:9092"))


@pytest.mark.parametrize(
    "code",
    [
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.UNKNOWN_LEADER_EPOCH,
    ],
)
def test_a_leader_that_moves_is_no_error_of_the_connection(
    errors: ConnectionErrors, code: int
) -> None:
    errors(KafkaError(code, "moved"))
    assert errors.last is None


def test_the_most_telling_error_is_kept(errors: ConnectionErrors) -> None:
    errors(KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down"))
    errors(KafkaError(KafkaError._TRANSPORT, "kafka:9092/bootstrap: Connect failed (after 1ms)"))
    errors(KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down"))
    assert "cannot be reached: Connect failed." in str(errors.unavailable())
