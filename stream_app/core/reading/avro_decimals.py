"""Values of Avro decimals: bytes of an integer, of which some digits follow the decimal point."""

from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar

# Larger values stay bytes: no double is so large, and Python limits the digits of such a text.
MAX_BYTES = 128
_MAX_SCALE = 300


class AvroDecimal(bytes):
    """Value of an Avro decimal: an integer as bytes, big-endian, in two's complement.

    `float`, `str` and `integer` give its number. It is no number itself, so that nothing is
    rounded where its bytes are wanted.

    >>> price = decimal_type({"logicalType": "decimal", "scale": 2})(b"\\xfb\\x1e")
    >>> float(price), str(price), price.integer()
    (-12.5, '-12.50', None)
    """

    scale: ClassVar[int]
    """Number of digits after the decimal point."""

    def __float__(self) -> float:
        """Return the nearest double."""
        divisor: int = 10**self.scale
        return self._unscaled / divisor

    def __str__(self) -> str:
        """Return all digits."""
        digits = str(abs(self._unscaled)).rjust(self.scale + 1, "0")
        whole = len(digits) - self.scale
        sign = "-" if self._unscaled < 0 else ""
        return f"{sign}{digits[:whole]}{'.' if self.scale else ''}{digits[whole:]}"

    def integer(self) -> int | None:
        """Return the number if it is an integer, else None."""
        number, rest = divmod(self._unscaled, 10**self.scale)
        return None if rest else number

    @property
    def _unscaled(self) -> int:
        return int.from_bytes(self, "big", signed=True)


def decimal_type(schema: Mapping[str, Any]) -> type[AvroDecimal] | None:
    """Return the class of the values of a `bytes` or `fixed`, None if it is no valid decimal."""
    scale = schema.get("scale", 0)
    if schema.get("logicalType") != "decimal" or type(scale) is not int:
        return None
    return _of_scale(scale) if 0 <= scale <= _MAX_SCALE else None


@cache
def _of_scale(scale: int) -> type[AvroDecimal]:
    # The name is for messages.
    return type("decimal", (AvroDecimal,), {"scale": scale})
