"""The embedded broker: Apache Kafka as a child process, without installation or configuration.

- `embedded`: start, stop and status of a broker, which several commands can share.
- `node`: data folder, address, configuration, formatting, start, readiness.
- `process`: processes, and recognition of the broker's process.
- `java_runtime`: Java's command line, and the server's jars, verified.
- `jars_lock`: maintainers' script that writes `jars.lock`.
- `download`: verified downloads that can be resumed.
- `broker_errors`: errors of the broker, with the cause of a failed start.
"""

from stream_app.broker.embedded import BrokerStatus, EmbeddedBroker

__all__ = ["BrokerStatus", "EmbeddedBroker"]
