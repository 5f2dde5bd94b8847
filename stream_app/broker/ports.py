"""Which port the broker listens on."""

import random
import socket

import psutil

from stream_app.broker.broker_errors import PortTakenError
from stream_app.broker.server_properties import HOST

# Below the range from which systems take ports for outgoing connections: a client that keeps trying to reach a broker
# that is down could otherwise be given the broker's own port.
_FREE = range(20_000, 32_000)


def is_free(port: int) -> bool:
    """Whether a server could listen on `port` of the loopback interface now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """A port that nothing listens on."""
    while not is_free(port := random.choice(_FREE)):
        pass
    return port


def port_taken(port: int) -> PortTakenError:
    """The error for a `port` that is not free, naming who has it where the system tells."""
    return PortTakenError(
        f"Port {port} of {HOST} is taken{_by_whom(port)}",
        "Stop that process, or choose another port with --port or STREAM_APP_BROKER__PORT",
    )


def _by_whom(port: int) -> str:
    try:
        listening = (
            one for one in psutil.net_connections("tcp") if one.status == psutil.CONN_LISTEN
        )
        pid = next(
            (one.pid for one in listening if one.pid and getattr(one.laddr, "port", None) == port),
            None,
        )
        return f" by {psutil.Process(pid).name()} (process {pid})" if pid else ""
    except psutil.Error:
        return ""
