"""Manifests, checkpoints and aliases: the records that name stored models.

They are JSON on `<pipeline>.models` and `<pipeline>.learn.state`.
"""

import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.metadata import version as installed_version
from types import UnionType
from typing import Any, Literal, NamedTuple, get_args, get_origin

import orjson

from stream_app.core.learning.learning_rules import Exclusion, LearningRules
from stream_app.errors import IncompatibleModelError, ModelError
from stream_app.model_store.pickling import FORMAT

CHAMPION_KEY = "alias/champion"
REQUESTED_KEY = "alias/requested"
CHECKPOINT_KEY = "checkpoint"
_VERSION_PREFIX = "version/"
_NO_NAMES: Sequence[str] = []
_NO_RANGES: Sequence[Sequence[int]] = []
_NO_RECORDS: Sequence[Mapping[str, Any]] = []
_EMPTY: Mapping[str, Any] = {}


class ModelRuntime(NamedTuple):
    """Versions that a pickled model depends on; Python as "major.minor"."""

    python: str
    river: str
    numpy: str


def runtime() -> ModelRuntime:
    """Return the runtime of this process."""
    return ModelRuntime(
        f"{sys.version_info.major}.{sys.version_info.minor}",
        installed_version("river"),
        installed_version("numpy"),
    )


class Manifest(NamedTuple):
    """Metadata of a model version.

    The fields after `format` have defaults, so that records of earlier releases can be read. A
    default never changes, since signatures leave out fields that have it.

    Attributes:
        name: name of the pipeline.
        version: offset in `<pipeline>.examples` of the first example that it has not learned.
        parent: version from which it was learned.
        created_at: ISO 8601.
        sha256: SHA-256 of the artifact in hexadecimal.
        size: size of the artifact in bytes.
        fingerprint: fingerprint of the pipeline's declaration.
        learned: number of examples learned.
        learned_through: largest label time among them, Unix milliseconds.
        metrics: metrics of `window` at publication.
        created_by: "learner" or user@host.
        origin: "learned" from the log, or "trained" from files or topics.
        family: kind of model, which decides what the artifact may name.
        features: names of the features that the model has seen.
        parameters: River's parameters, each as its `repr`.
        seed: seed of the model's random numbers.
        window: "start" and "end" in Unix milliseconds, "n" examples.
        offline_metrics: metrics of the offline-trained version from which it descends.
        profile: distribution of each feature and of "score" at that training: "n", "mean",
            "deviation", "minimum", "maximum" and nine "deciles".
        thresholds: thresholds that the pipeline declared at publication.
        decision: number of decisions (rollbacks, promotions) before it.
        prior: score without a model, from the labels before it.
        unlearned: ranges of offsets, end exclusive, of the newest examples before it that it could
            not learn; at most `MAX_UNLEARNED`.
        paused_sources: sources of labels whose examples were not learned at publication, each with
            the offset from which on none was learned.
        exclusions: exclusions in force at publication, with the fields of `Exclusion`.
        last_exclusion: number of the newest exclusion before it, in force or withdrawn.
        inputs: of a version trained from topics, "topic" and "partition" of what it was learned
            from, with the "start" and "end" (exclusive) of its offsets.
        key_id: key that signed it.
        signature: base64, over all other fields.
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
    parameters: Mapping[str, str] = _EMPTY
    seed: int | None = None
    window: Mapping[str, int] | None = None
    offline_metrics: Mapping[str, float] = _EMPTY
    profile: Mapping[str, Mapping[str, Any]] = _EMPTY
    thresholds: Mapping[str, Any] = _EMPTY
    decision: int = 0
    prior: float | Mapping[str, float] | None = None
    unlearned: Sequence[Sequence[int]] = _NO_RANGES
    paused_sources: Mapping[str, int] = _EMPTY
    exclusions: Sequence[Mapping[str, Any]] = _NO_RECORDS
    last_exclusion: int = 0
    inputs: Sequence[Mapping[str, Any]] = _NO_RECORDS
    key_id: str = ""
    signature: str = ""

    @property
    def rules(self) -> LearningRules:
        """Pauses of sources and exclusions in force at publication."""
        exclusions = tuple(Exclusion(**one) for one in self.exclusions)
        return LearningRules(tuple(sorted(self.paused_sources)), exclusions, self.last_exclusion)

    def encode(self) -> bytes:
        """Return the manifest as JSON."""
        return orjson.dumps(self._asdict())

    @classmethod
    def decode(cls, value: bytes) -> "Manifest":
        """Return the manifest in a JSON record.

        Raises:
            ModelError: the record is not a manifest.
        """
        return cls(**_decoded_fields(cls, value))


class Checkpoint(NamedTuple):
    """Pointer to the stored state of a learner; signed like a manifest.

    Attributes:
        offset: end, exclusive, of the examples that the state covers.
        version: last version published before.
        sha256: SHA-256 of the artifact in hexadecimal.
        size: size of the artifact in bytes.
        fingerprint: fingerprint of the pipeline's declaration.
        name: name of the pipeline.
        state_format: format of the state, which decides which releases can read it.
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
    state_format: int = 1

    def encode(self) -> bytes:
        """Return the checkpoint as JSON."""
        return orjson.dumps(self._asdict())

    @classmethod
    def decode(cls, value: bytes) -> "Checkpoint":
        """Return the checkpoint in a JSON record.

        Raises:
            ModelError: the record is not a checkpoint.
        """
        return cls(**_decoded_fields(cls, value))


class Alias(NamedTuple):
    """Name of a version.

    Attributes:
        version: version that the alias names.
        decision: number of decisions (rollbacks, promotions) that its writer knew.
    """

    version: int
    decision: int = 0


def version_key(version: int) -> str:
    """Return the key of a version's manifest.

    >>> version_key(12), version_of(version_key(12)), version_of("alias/champion")
    ('version/12', 12, None)
    """
    return f"{_VERSION_PREFIX}{version}"


def version_of(key: str) -> int | None:
    """Return the version that a key names, or None for an alias."""
    number = key.removeprefix(_VERSION_PREFIX)
    return int(number) if number != key and number.isdecimal() else None


def encode_alias(alias: Alias) -> bytes:
    """Return an alias as JSON."""
    return orjson.dumps(alias._asdict())


def decode_alias(value: bytes) -> Alias:
    """Return the alias in a JSON record.

    Raises:
        ModelError: the record is not an alias.
    """
    return Alias(**_decoded_fields(Alias, value))


def version_to_serve(champion: Alias | None, requested: Alias | None) -> int | None:
    """Return the learner's champion, unless a decision it has not processed requests another.

    >>> version_to_serve(Alias(12, 1), Alias(7, 2)), version_to_serve(Alias(15, 2), Alias(7, 2))
    (7, 15)
    >>> version_to_serve(None, None)
    """
    if requested is not None and (champion is None or requested.decision > champion.decision):
        return requested.version
    return None if champion is None else champion.version


def check_runtime(stored: Manifest | Checkpoint) -> None:
    """Check that an artifact was stored by this River and this Python (major.minor).

    Raises:
        IncompatibleModelError: it was stored by another.
    """
    here = runtime()
    if (stored.python, stored.river) != (here.python, here.river):
        raise IncompatibleModelError(
            f"the model was stored with Python {stored.python} and river {stored.river}; "
            f"this is Python {platform.python_version()} and river {here.river}",
            f"Run it with Python {stored.python} and river=={stored.river}, "
            "or retrain it under a new pipeline name",
        )


def model_parameters(model: Any) -> dict[str, str]:
    """Return River's parameters as their `repr`, parameters of parts with a dotted name.

    The value of a part itself is the name of its class.

    >>> from river import linear_model, optim
    >>> found = model_parameters(linear_model.LogisticRegression(optim.SGD(0.1), l2=0.5))
    >>> found["l2"], found["optimizer"], found["optimizer.lr.learning_rate"]
    ('0.5', 'SGD', '0.1')
    """
    return dict(_leaves("", model._get_params()))


def model_seed(model: Any) -> int | None:
    """Return the first seed among a model's parameters, or None."""
    seeds = (
        value
        for name, value in model_parameters(model).items()
        if name.rpartition(".")[2] == "seed"
    )
    return next((int(value) for value in seeds if value.lstrip("-").isdecimal()), None)


def _leaves(name: str, value: Any) -> Iterator[tuple[str, str]]:
    match value:
        # River represents a part by its class and its parameters.
        case (type() as part_class, Mapping() as inner):
            yield name, part_class.__name__
            yield from _leaves(name, inner)
        case Mapping() if value:
            for key, item in value.items():
                yield from _leaves(f"{name}.{key}" if name else str(key), item)
        case _:
            yield name, repr(value)


def _decoded_fields(record_type: type[NamedTuple], value: bytes) -> dict[str, Any]:
    try:
        found: dict[str, Any] = orjson.loads(value)
        fields = {
            name: found[name]
            for name in record_type._fields
            if name in found or name not in record_type._field_defaults
        }
        for name, field in fields.items():
            if not isinstance(field, _json_classes(record_type)[name]):
                raise TypeError(name)
        return fields
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"the {record_type.__name__.lower()} record cannot be read: {type(error).__name__}",
            "The topic was modified by another program. Restore the record from a backup",
        ) from None


@cache
def _json_classes(record_type: type[NamedTuple]) -> dict[str, tuple[type, ...]]:
    """Return the classes that the JSON value of each field may have."""
    return {
        name: tuple(_class_of(branch) for branch in _branches(annotation))
        for name, annotation in record_type.__annotations__.items()
    }


def _branches(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)


def _class_of(annotation: Any) -> type:
    return str if get_origin(annotation) is Literal else get_origin(annotation) or annotation
