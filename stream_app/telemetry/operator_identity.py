"""Who runs this process, for the records of what was decided."""

import getpass
import os
import socket


def operator() -> str:
    """Who runs this command: user@host."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
