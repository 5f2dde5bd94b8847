"""Which model scores an event that was a dead letter: the one that its replay asks for."""

from collections.abc import Callable
from typing import NoReturn

from stream_app.core.scoring.predictor import Model
from stream_app.errors import StreamAppError
from stream_app.records import Features, Record
from stream_app.telemetry.logs import get_logger

log = get_logger(__name__)

_MOST = 4  # versions that are kept in memory


class ModelOverrides:
    """`served` gives the version to serve now, `load` any other or a `StreamAppError`."""

    def __init__(
        self, name: str, served: Callable[[], Model], load: Callable[[int], Model]
    ) -> None:
        self._name = name
        self._served = served
        self._load = load
        self._loaded: dict[int, Model] = {}

    def model(self, record: Record) -> Model:
        """That of the record's header `replay-model`, which fails each record if it does not load; else the served."""
        wanted = dict(record.headers).get("replay-model") or b""
        if not wanted.isdigit() or len(wanted) > 18:
            return self._served()
        version = int(wanted)
        if version not in self._loaded:
            if len(self._loaded) == _MOST:
                self._loaded.clear()
            self._loaded[version] = self._get(version)
        return self._loaded[version]

    def _get(self, version: int) -> Model:
        try:
            return self._load(version)
        except StreamAppError as error:
            log.error(
                "the version that a replay asks for does not load", version=version, why=str(error)
            )
            return _Missing(self._name, version, error)


class _Missing:
    """A version that does not load; to score by it is a failure of the model."""

    def __init__(self, name: str, version: int, error: StreamAppError) -> None:
        self.name = name
        self.version = version
        self._error = error

    def score(self, features: Features) -> NoReturn:
        raise self._error
