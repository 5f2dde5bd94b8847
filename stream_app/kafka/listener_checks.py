"""Checks of a listener that closes connections: librdkafka does not say why."""

import socket
import ssl
import struct

Address = tuple[str, int]
"""Host and port."""

_CONNECT_SECONDS = 2.0
# ApiVersions and SaslHandshake, the requests that a broker answers without authentication.
_API_VERSIONS = struct.pack(">ihhih", 10, 18, 0, 1, -1)
_SASL_HANDSHAKE = struct.pack(">ihhihh5s", 17, 17, 1, 1, -1, 5, b"PLAIN")
# Error of a handshake with a listener without SASL.
_ILLEGAL_SASL_STATE = 34


def is_encrypted(address: Address) -> bool:
    """Return True if the listener speaks TLS."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection(address, _CONNECT_SECONDS) as plain:
            context.wrap_socket(plain).close()
    except OSError:
        return False
    return True


def is_plaintext(address: Address) -> bool:
    """Return True if the listener speaks Kafka's protocol without encryption."""
    return _answer(address, None, _API_VERSIONS, 8)[4:] == _API_VERSIONS[8:12]


def requires_authentication(address: Address, context: ssl.SSLContext | None) -> bool:
    """Return True if the listener uses SASL.

    Args:
        address: address of the listener.
        context: TLS of the listener, None if it does not use TLS.
    """
    answer = _answer(address, context, _SASL_HANDSHAKE, 10)
    return (
        len(answer) == 10
        and answer[4:8] == _SASL_HANDSHAKE[8:12]
        and int.from_bytes(answer[8:], "big") != _ILLEGAL_SASL_STATE
    )


def certificate_problem(address: Address, context: ssl.SSLContext) -> str:
    """Return the reason why a listener's certificate is not trusted, empty if unknown."""
    try:
        with socket.create_connection(address, _CONNECT_SECONDS) as plain:
            context.wrap_socket(plain, server_hostname=address[0]).close()
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    except OSError:
        pass
    return ""


def _answer(address: Address, context: ssl.SSLContext | None, request: bytes, size: int) -> bytes:
    """Return the first bytes of the answer to a request, fewer if the listener closes."""
    try:
        with socket.create_connection(address, _CONNECT_SECONDS) as plain:
            if context is None:
                return _exchange(plain, request, size)
            with context.wrap_socket(plain, server_hostname=address[0]) as encrypted:
                return _exchange(encrypted, request, size)
    except OSError:
        return b""


def _exchange(connection: socket.socket, request: bytes, size: int) -> bytes:
    connection.sendall(request)
    with connection.makefile("rb") as stream:
        return stream.read(size)
