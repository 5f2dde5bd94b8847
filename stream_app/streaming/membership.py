"""Our place in the consumer group, in the form in which the broker fences a stale owner's offsets."""

from struct import pack
from typing import NamedTuple


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
