"""Our place in the consumer group, in the form in which the broker fences a stale owner's offsets."""

import re
import socket
from struct import pack
from typing import NamedTuple

from stream_app.errors import SettingsError

AUTO = "auto"


def instance_name(given: str) -> str:
    """What tells a worker from the others of its role; `auto` is this machine's host name, a container's own.

    Raises SettingsError for what Kafka would refuse in a `group.instance.id`.
    """
    instance = socket.gethostname() if given == AUTO else given
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,100}", instance):
        raise SettingsError(
            f"{instance!r} cannot be an instance id",
            "Give --instance up to 100 letters, digits, dots, hyphens and underscores",
        )
    return instance


class Membership(NamedTuple):
    """Group, generation, member and static instance id (None when dynamic)."""

    group: str
    generation: int
    member: str
    instance: str | None

    def metadata(self) -> bytes:
        """What librdkafka's `send_offsets_to_transaction` takes as consumer group metadata (its version 2 format)."""
        instance = b"\1" if self.instance is None else b"\0" + self.instance.encode() + b"\0"
        return (
            b"CGMDv2:"
            + pack("=i", self.generation)
            + self.group.encode()
            + b"\0"
            + self.member.encode()
            + b"\0"
            + instance
        )
