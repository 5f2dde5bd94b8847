"""Address of the broker, and free ports."""

import random
import socket

import psutil

from stream_app.broker.broker_errors import PortTakenError

HOST = "127.0.0.1"

# Below the range that systems use for outgoing connections: a client that keeps connecting to a
# stopped broker could otherwise be given the broker's own port.
_PORTS = range(20_000, 32_000)


def is_free(port: int) -> bool:
    """Return True if a server can listen on a port of the loopback interface."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """Return a random free port."""
    while not is_free(port := random.choice(_PORTS)):
        pass
    return port


def port_taken(port: int) -> PortTakenError:
    """Return the error of a taken port, with the process that listens on it if that is known."""
    return PortTakenError(
        f"Port {port} of {HOST} is taken{_listener(port)}",
        "Stop that process, or choose another port with --port or STREAM_APP_BROKER__PORT",
    )


def _listener(port: int) -> str:
    try:
        for one in psutil.net_connections("tcp"):
            is_listener = one.status == psutil.CONN_LISTEN and one.pid
            if is_listener and getattr(one.laddr, "port", None) == port:
                return f" by {psutil.Process(one.pid).name()} (process {one.pid})"
    except psutil.Error:
        pass
    return ""
