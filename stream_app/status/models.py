"""The model version that is served, out of `<pipeline>.models`."""

from stream_app.clients.offsets import Place
from stream_app.models.manifest import Manifest
from stream_app.models.registry import Registry
from stream_app.status.model import ModelStatus
from stream_app.status.tail import Tail
from stream_app.status.times import iso, seconds_since


class RegistryReader:
    """Reads the registry; from the second time on only what is new."""

    def __init__(self, tail: Tail) -> None:
        self._tail = tail
        self._latest: dict[bytes | None, bytes | None] = {}  # of each key, up to this offset
        self._read_to = 0

    def read(self, place: Place, low: int, high: int) -> Registry:
        """As of the offset `high`; `low` is the first offset still there. Raises as `Tail.between`."""
        if high < self._read_to:  # the topic was made anew
            self._latest, self._read_to = {}, 0
        for message in self._tail.between({place: (max(low, self._read_to), high)}):
            self._latest[message.key()] = message.value()
        self._read_to = high
        return Registry.of(self._latest.items())


def model_status(manifest: Manifest, behind: int, now: float) -> ModelStatus:
    """As it is shown; `now` is epoch seconds."""
    return ModelStatus(
        version=manifest.version,
        created_at=manifest.created_at,
        age_seconds=round(seconds_since(manifest.created_at, now), 1),
        learned=manifest.learned,
        learned_through=None if manifest.learned_through is None else iso(manifest.learned_through),
        behind=behind,
        fingerprint=manifest.fingerprint,
        metrics=manifest.metrics,
    )
