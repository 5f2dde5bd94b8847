"""A real Apache Kafka on this machine, started as a child process: nothing to install, nothing to configure."""

from stream_app.broker.embedded import BrokerStatus, EmbeddedBroker

__all__ = ["BrokerStatus", "EmbeddedBroker"]
