"""What `<pipeline>.models` and `<pipeline>.learn.state` carry: pointers to artifacts, with what they are."""

import platform
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version as installed
from types import UnionType
from typing import Any, Literal, NamedTuple, get_args, get_origin

import orjson

from stream_app.errors import ModelError, UnfitModelError
from stream_app.model_store.pickling import FORMAT

CHAMPION_KEY = "alias/champion"
ORDERED_KEY = "alias/ordered"
CHECKPOINT_KEY = "checkpoint"
_VERSION = "version/"
_NO_NAMES: Sequence[str] = []
_NOTHING: Mapping[str, Any] = {}


class ModelRuntime(NamedTuple):
    """What a pickle depends on."""

    python: str
    river: str
    numpy: str


def runtime() -> ModelRuntime:
    """This process's; Python as "major.minor"."""
    return ModelRuntime(
        f"{sys.version_info.major}.{sys.version_info.minor}", installed("river"), installed("numpy")
    )


class Manifest(NamedTuple):
    """A model version: `version` is the offset in `<pipeline>.examples` of the first example it has not learned.

    `parent` is the version that it was learned from. `sha256` and `size` name the artifact. `learned` counts examples,
    `learned_through` is the largest label time among them (epoch ms). `metrics` are those at publication, of `window`:
    its "start" and "end" in epoch ms, and "n" examples. `parameters` are River's, each as its `repr`. `laboratory` are
    the metrics of the trained version that it descends from, `profile` the distribution of each feature and of "score"
    then: "n", "mean", "deviation", "minimum", "maximum" and nine "deciles". `thresholds` are those declared when it was
    published. `epoch` counts the decisions (rollbacks, promotions) before it. `signature` is over all of the others,
    in base64, by the key `key_id`.

    What comes after `format` has a default, so that earlier releases' records can be read; no default may ever change.
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
    created_by: str = "learner"
    origin: Literal["learned", "trained"] = "learned"
    family: str = ""
    features: Sequence[str] = _NO_NAMES
    parameters: Mapping[str, str] = _NOTHING
    seed: int | None = None
    window: Mapping[str, int] | None = None
    laboratory: Mapping[str, float] = _NOTHING
    profile: Mapping[str, Mapping[str, Any]] = _NOTHING
    thresholds: Mapping[str, Any] = _NOTHING
    epoch: int = 0
    key_id: str = ""
    signature: str = ""

    def encode(self) -> bytes:
        """As JSON."""
        return orjson.dumps(self._asdict())

    @classmethod
    def decode(cls, value: bytes) -> "Manifest":
        """From JSON; ModelError if it is not a manifest."""
        return cls(**_fields(cls, value))


class Checkpoint(NamedTuple):
    """Where the learner's state up to `offset` (exclusive) is stored; `version` is the last one published before.

    `name` is the pipeline's; it is signed as a manifest is. `shape` says which of our releases can read the state.
    """

    offset: int
    version: int | None
    sha256: str
    size: int
    fingerprint: str
    python: str
    river: str
    numpy: str
    name: str = ""
    key_id: str = ""
    signature: str = ""
    shape: int = 1

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


class Alias(NamedTuple):
    """A name for a version; `epoch` is the number of decisions (rollbacks, promotions) that its writer knew of."""

    version: int
    epoch: int = 0


def encode_alias(alias: Alias) -> bytes:
    """What an alias points at, as JSON."""
    return orjson.dumps(alias._asdict())


def decode_alias(value: bytes) -> Alias:
    """What an alias points at; ModelError if it is not an alias."""
    return Alias(**_fields(Alias, value))


def served(champion: Alias | None, ordered: Alias | None) -> int | None:
    """The version to serve: the learner's champion, unless a decision that it has not processed yet orders another.

    >>> served(Alias(12, 1), Alias(7, 2)), served(Alias(15, 2), Alias(7, 2)), served(None, None)
    (7, 15, None)
    """
    if ordered is not None and (champion is None or ordered.epoch > champion.epoch):
        return ordered.version
    return None if champion is None else champion.version


def check_runtime(stored: Manifest | Checkpoint) -> None:
    """UnfitModelError unless it was stored by this River and this Python (major.minor)."""
    here = runtime()
    if (stored.python, stored.river) != (here.python, here.river):
        raise UnfitModelError(
            f"the model was stored with Python {stored.python} and river {stored.river}; "
            f"this is Python {platform.python_version()} and river {here.river}",
            f"Run it with Python {stored.python} and river=={stored.river}, or learn it anew under a new pipeline name",
        )


def _fields(kind: type[NamedTuple], value: bytes) -> dict[str, Any]:
    try:
        said: dict[str, Any] = orjson.loads(value)
        fields = {
            name: said[name]
            for name in kind._fields
            if name in said or name not in kind._field_defaults
        }
        for name, field in fields.items():
            if not isinstance(field, _classes(kind)[name]):
                raise TypeError(name)
        return fields
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"the {kind.__name__.lower()} record cannot be read: {type(error).__name__}",
            "Was the topic written to by hand?",
        ) from None


@cache
def _classes(kind: type[NamedTuple]) -> dict[str, tuple[type, ...]]:
    """Of each field, those that its value in JSON may have."""
    return {
        name: tuple(_class_of(one) for one in _branches(said))
        for name, said in kind.__annotations__.items()
    }


def _branches(said: Any) -> tuple[Any, ...]:
    return get_args(said) if isinstance(said, UnionType) else (said,)


def _class_of(said: Any) -> type:
    return str if get_origin(said) is Literal else get_origin(said) or said
