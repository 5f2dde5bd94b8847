"""One connection to a listener that does not let librdkafka in, to tell for certain what it speaks and shows."""

import socket
import ssl
import struct

SECONDS = 2.0
_API_VERSIONS = struct.pack(
    ">ihhih", 10, 18, 0, 1, -1
)  # the one request that a broker answers to everybody

Address = tuple[str, int]
"""Host and port."""


def certificate_problem(address: Address, context: ssl.SSLContext) -> str:
    """Why the certificate of this listener is not trusted; empty if that did not come to light."""
    try:
        with socket.create_connection(address, SECONDS) as plain:
            context.wrap_socket(plain, server_hostname=address[0]).close()
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    except OSError:
        pass
    return ""


def is_encrypted(address: Address) -> bool:
    """Whether this listener speaks TLS."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection(address, SECONDS) as plain:
            context.wrap_socket(plain).close()
    except OSError:
        return False
    return True


def is_open(address: Address) -> bool:
    """Whether this listener speaks Kafka's protocol without encryption."""
    try:
        with socket.create_connection(address, SECONDS) as plain:
            plain.sendall(_API_VERSIONS)
            return plain.recv(8, socket.MSG_WAITALL)[4:] == _API_VERSIONS[8:12]
    except OSError:
        return False
