"""What `<pipeline>.models` and `<pipeline>.learn.state` carry: pointers to artifacts, with what they are."""

import platform
import sys
from importlib.metadata import version as installed
from typing import Any, NamedTuple

import orjson

from stream_app.errors import ModelError
from stream_app.models.pickling import FORMAT

CHAMPION_KEY = "alias/champion"
CHECKPOINT_KEY = "checkpoint"
_VERSION = "version/"


class Runtime(NamedTuple):
    """What a pickle depends on."""

    python: str
    river: str
    numpy: str


def runtime() -> Runtime:
    """This process's; Python as "major.minor"."""
    return Runtime(f"{sys.version_info.major}.{sys.version_info.minor}", installed("river"), installed("numpy"))


class Manifest(NamedTuple):
    """A model version: `version` is the offset in `<pipeline>.examples` of the first example it has not learned.

    `parent` is the version before it. `sha256` and `size` name the artifact. `learned` counts examples,
    `learned_through` is the largest label time among them (epoch ms). `metrics` are those at publication.
    """

    name: str
    version: int
    parent: int | None
    created_at: str
    sha256: str
    size: int
    fingerprint: str
    learned: int
    learned_through: int | None
    metrics: dict[str, float]
    python: str
    river: str
    numpy: str
    format: str = FORMAT

    def encode(self) -> bytes:
        """As JSON."""
        return orjson.dumps(self._asdict())

    @classmethod
    def decode(cls, value: bytes) -> "Manifest":
        """From JSON; ModelError if it is not a manifest."""
        return cls(**_fields(cls, value))


class Checkpoint(NamedTuple):
    """Where the learner's state up to `offset` (exclusive) is stored; `version` is the last one published before."""

    offset: int
    version: int | None
    sha256: str
    size: int
    fingerprint: str
    python: str
    river: str
    numpy: str

    def encode(self) -> bytes:
        """As JSON."""
        return orjson.dumps(self._asdict())

    @classmethod
    def decode(cls, value: bytes) -> "Checkpoint":
        """From JSON; ModelError if it is not a checkpoint."""
        return cls(**_fields(cls, value))


def version_key(version: int) -> str:
    """Key of a version's manifest.

    >>> version_key(12), version_of(version_key(12)), version_of("alias/champion")
    ('version/12', 12, None)
    """
    return f"{_VERSION}{version}"


def version_of(key: str) -> int | None:
    """The version that a key names, or None for an alias."""
    number = key.removeprefix(_VERSION)
    return int(number) if number != key and number.isdecimal() else None


def encode_alias(version: int) -> bytes:
    """What an alias points at, as JSON."""
    return orjson.dumps({"version": version})


def decode_alias(value: bytes) -> int:
    """The version that an alias points at."""
    return int(orjson.loads(value)["version"])


def check_runtime(stored: Manifest | Checkpoint) -> None:
    """ModelError unless it was stored by this River and this Python (major.minor)."""
    here = runtime()
    if (stored.python, stored.river) != (here.python, here.river):
        raise ModelError(
            f"the model was stored with Python {stored.python} and river {stored.river}; "
            f"this is Python {platform.python_version()} and river {here.river}",
            f"Run it with Python {stored.python} and river=={stored.river}, or learn it anew under a new pipeline name",
        )


def _fields(kind: type[NamedTuple], value: bytes) -> dict[str, Any]:
    try:
        fields: dict[str, Any] = orjson.loads(value)
        return {name: fields[name] for name in kind._fields}
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"a {kind.__name__.lower()} record cannot be read: {type(error).__name__}",
            "Was the topic written to by hand?",
        ) from None
