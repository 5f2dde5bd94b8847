"""User and host that run this process, as records of operations name them."""

import getpass
import os
import socket


def operator() -> str:
    """Return `user@host`; a user without a name, as in a container, is given by number."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
