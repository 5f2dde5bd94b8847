"""The model version that is served, out of `<pipeline>.models`."""

from stream_app.formatting import iso_time, seconds_since
from stream_app.kafka.offsets import Place
from stream_app.model_store.manifest import Manifest
from stream_app.model_store.model_registry import ModelRegistry
from stream_app.status.newest_records import NewestRecords
from stream_app.status.status_model import ModelStatus


class RegistryReader:
    """Reads the registry; from the second time on only what is new."""

    def __init__(self, tail: NewestRecords) -> None:
        self._tail = tail
        self._latest: dict[bytes | None, bytes | None] = {}  # of each key, up to this offset
        self._read_to = 0

    def read(self, place: Place, low: int, high: int) -> ModelRegistry:
        """As of the offset `high`; `low` is the first offset still there. Raises as `NewestRecords.between`."""
        if high < self._read_to:  # the topic was made anew
            self._latest, self._read_to = {}, 0
        for message in self._tail.between({place: (max(low, self._read_to), high)}):
            self._latest[message.key()] = message.value()
        self._read_to = high
        return ModelRegistry.of(self._latest.items())


def model_status(manifest: Manifest, behind: int, now: float) -> ModelStatus:
    """As it is shown; `now` is epoch seconds."""
    return ModelStatus(
        version=manifest.version,
        created_at=manifest.created_at,
        age_seconds=round(seconds_since(manifest.created_at, now), 1),
        learned=manifest.learned,
        learned_through=None
        if manifest.learned_through is None
        else iso_time(manifest.learned_through),
        behind=behind,
        fingerprint=manifest.fingerprint,
        metrics=manifest.metrics,
    )
