"""Health check of a container: ends with 0 if a worker answers that it is ready, else with 1.

``python -I -S ready.py 127.0.0.1:8080`` imports only what is compiled into Python, because it runs
every few seconds in each container: 0.01 s of CPU time, instead of 0.06 s with `urllib.request`.
"""

import _socket
import sys

# Less than the time-out of the health checks in docker-compose.yml.
_SECONDS = 4.0
_REQUEST = b"GET /readyz HTTP/1.0\r\n\r\n"


def is_ready(host: str, port: int) -> bool:
    """Return True if the worker at this address answers 200."""
    connection = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
    connection.settimeout(_SECONDS)
    try:
        connection.connect((host, port))
        connection.sendall(_REQUEST)
        answer = b""
        # Read to its end: the server would log a connection that is closed earlier.
        while part := connection.recv(4096):
            answer += part
        return answer.split()[1:2] == [b"200"]
    except OSError:
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    address, _, number = sys.argv[1].rpartition(":")
    sys.exit(not is_ready(address, int(number)))
