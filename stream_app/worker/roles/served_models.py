"""Models that score events: the served version, overrides by replays, and the last good version."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from stream_app.core.scoring.model_protocols import Model
from stream_app.core.scoring.partition_state import PartitionState
from stream_app.errors import StreamAppError
from stream_app.headers import REPLAY_MODEL
from stream_app.records import Features, Record
from stream_app.telemetry.logs import get_logger
from stream_app.topic_kinds import is_replay_topic

log = get_logger(__name__)

# Versions that overrides keep in memory.
_MAX_OVERRIDES = 4
# Longer numbers are not versions: an offset has at most 19 digits.
_MAX_DIGITS = 18


class ModelOverrides:
    """Models for replayed events, whose header may ask for a version.

    Args:
        name: name of the pipeline.
        served: returns the version to serve now.
        load: returns any version, or raises a `StreamAppError`.
    """

    def __init__(
        self, name: str, served: Callable[[], Model], load: Callable[[int], Model]
    ) -> None:
        self._name = name
        self._served = served
        self._load = load
        self._loaded: dict[int, Model] = {}

    def model(self, record: Record) -> Model:
        """Return the model that a replay has chosen for the record, else the served version.

        If the version cannot be loaded, scoring with the returned model fails.
        """
        if not record.headers or not is_replay_topic(record.topic):
            return self._served()
        requested = dict(record.headers).get(REPLAY_MODEL) or b""
        if not requested.isdigit() or len(requested) > _MAX_DIGITS:
            return self._served()
        version = int(requested)
        if version not in self._loaded:
            if len(self._loaded) == _MAX_OVERRIDES:
                self._loaded.clear()
            self._loaded[version] = self._get(version)
        return self._loaded[version]

    def _get(self, version: int) -> Model:
        try:
            return self._load(version)
        except StreamAppError as error:
            log.error(
                "version requested by a replay does not load", version=version, why=str(error)
            )
            return _UnloadableModel(self._name, version, error)


class LastGood:
    """Replaces a failing version by the last one that scored the partition's events well.

    The choice is part of the partition's state, so that the next owner knows it.

    Args:
        state: state of the partition.
        before: returns the version served before, used until one has scored well.
        load: returns any version, or raises a `StreamAppError`.
    """

    def __init__(
        self,
        state: PartitionState,
        before: Callable[[], Model | None],
        load: Callable[[int], Model],
    ) -> None:
        self._state = state
        self._before = before
        self._load = load
        self._good: Model | None = None
        self._earlier: Model | None = None

    def restore(self) -> None:
        """Load the version that the state names; may block."""
        version = self._state.good_version
        if version is None:
            return
        try:
            self._good = self._load(version)
        except StreamAppError as error:
            log.warning("the last good version does not load", version=version, why=str(error))

    def mark_good(self, model: Model) -> None:
        """Record that a version has scored events without a failure."""
        if self._good is None or model.version != self._good.version:
            self._earlier, self._good = self._good, model
            self._state.good_version = model.version

    def replacement(self, model: Model) -> Model | None:
        """Return the version that replaces a failing one, or None."""
        for other in (self._good, self._earlier, self._before()):
            if other is not None and other.version != model.version:
                return other
        return None


@dataclass(frozen=True, slots=True)
class ServedModels:
    """Models of one partition.

    Attributes:
        current: returns the version to serve now.
        rejection: returns the kind of error that keeps a newer version from being served, or None.
        overrides: models for replayed events.
        last_good: replacement of failing versions, None if the pipeline declares none.
    """

    current: Callable[[], Model]
    rejection: Callable[[], str | None]
    overrides: ModelOverrides
    last_good: LastGood | None


class _UnloadableModel:
    """Version that cannot be loaded; scoring with it is a failure of the model."""

    def __init__(self, name: str, version: int, error: StreamAppError) -> None:
        self.name = name
        self.version = version
        self._error = error

    def score(self, features: Features) -> NoReturn:
        raise self._error
