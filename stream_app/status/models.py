"""The model version that is served, out of `<pipeline>.models`."""

from confluent_kafka import Message

from stream_app.clients.offsets import Limits
from stream_app.models.manifest import CHAMPION_KEY, Manifest, decode_alias, version_key
from stream_app.status.model import ModelStatus
from stream_app.status.tail import Tail
from stream_app.status.times import iso, seconds_since


def champion(tail: Tail, limits: Limits) -> Manifest | None:
    """The manifest that the champion alias names, None before there is one; `ModelError` if it cannot be read."""
    alias = _newest(tail, limits, CHAMPION_KEY)
    if alias is None:
        return None
    manifest = _newest(tail, limits, version_key(decode_alias(alias).version))
    return None if manifest is None else Manifest.decode(manifest)


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


def _newest(tail: Tail, limits: Limits, key: str) -> bytes | None:
    """The newest value of a key; one record of a transaction that published, so near the end of the topic."""

    def wanted(message: Message) -> bool:
        return message.key() == key.encode() and message.value() is not None

    found = tail.newest(limits, wanted)
    return next((message.value() for message in found.values()), None)
