"""The configuration of a one-node Kafka: broker and controller in one process, on the loopback interface only."""

from collections.abc import Mapping

HOST = "127.0.0.1"

_ONE_NODE = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "CLIENT",
    "listener.security.protocol.map": "CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    # Kafka's own 50 partitions each are for many brokers; here they only make starts slower.
    "offsets.topic.num.partitions": "8",
    "transaction.state.log.num.partitions": "8",
    "share.coordinator.state.topic.num.partitions": "8",
    "auto.create.topics.enable": "false",
    # After kill -9 the broker may register again only when its old session has ended; Kafka's own 9 s are long to wait.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
}


def server_properties(
    port: int, controller_port: int, log_dirs: str, extra: Mapping[str, str]
) -> str:
    """The text of `server.properties`; `extra` wins over everything."""
    addresses = {
        "listeners": f"CLIENT://{HOST}:{port},CONTROLLER://{HOST}:{controller_port}",
        "advertised.listeners": f"CLIENT://{HOST}:{port}",
        "controller.quorum.bootstrap.servers": f"{HOST}:{controller_port}",
        "log.dirs": log_dirs,
    }
    lines = (
        f"{key}={_escape(value)}" for key, value in {**_ONE_NODE, **addresses, **extra}.items()
    )
    return "\n".join(lines) + "\n"


def _escape(value: str) -> str:
    """Write `value` as Java's properties want it: printable ASCII, the rest as UTF-16 escapes."""
    units = memoryview(value.encode("utf-16-le")).cast("H") if value else ()
    return "".join(
        chr(unit) if 32 <= unit < 127 and unit != 92 else f"\\u{unit:04x}" for unit in units
    )
