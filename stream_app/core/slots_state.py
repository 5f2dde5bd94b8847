"""Pickled form of dataclasses with slots, whether they are compiled or not."""

from dataclasses import fields
from typing import Any


class SlotsState:
    """Base of dataclasses with slots that are pickled or copied.

    The state is that of Python's own pickles of such classes. A compiled class has no `__slots__`
    from which Python could take it.
    """

    __slots__ = ()

    def __getstate__(self) -> tuple[None, dict[str, Any]]:
        """Return no `__dict__`, and the fields by name."""
        instance: Any = self
        return None, {one.name: getattr(self, one.name) for one in fields(instance)}
