"""Signatures of manifests and checkpoints: Ed25519 over all that they say.

Whoever publishes calls `Signer.signed` as the last thing before it encodes a record, whoever loads calls `verify` as
the first thing. What is signed names the pipeline, the version, the artifact's SHA-256 and the runtime, so none of
these can be exchanged for those of another record with a good signature.
"""

from base64 import b64decode, b64encode
from typing import Any, TypeVar

import orjson
from cryptography.exceptions import InvalidSignature

from stream_app.errors import ModelError
from stream_app.model_store.key_files import (
    KeyPlaces,
    SigningKey,
    key_places,
    require_signing_key,
    stamp,
)
from stream_app.model_store.manifest import Checkpoint, Manifest
from stream_app.model_store.trusted_keys import TrustedKeys
from stream_app.settings import Settings

Signed = TypeVar("Signed", Manifest, Checkpoint)


class Signer:
    """Signs for one pipeline, with the key that is in its file at that moment: a rotation needs no restart.

    Making it makes the first key, unless the settings name a file; then a missing one is a ModelError.
    """

    def __init__(self, places: KeyPlaces) -> None:
        self._places = places
        self.trusted = TrustedKeys(places.trusted)
        self._key, self._stamp = require_signing_key(places), stamp(places.signing)

    def signed(self, record: Signed) -> Signed:
        """The record with key and signature; ModelError if the key is gone, damaged or revoked."""
        now = stamp(self._places.signing)
        if now != self._stamp:
            self._key, self._stamp = require_signing_key(self._places), now
        self.trusted.key(self._key.id)
        return signed(record, self._key)


def open_signer(settings: Settings, pipeline: str) -> Signer:
    """That of the pipeline so named."""
    return Signer(key_places(settings, pipeline))


def signed(record: Signed, key: SigningKey) -> Signed:
    """The record with the key's id and its signature over all of the rest."""
    named = record._replace(key_id=key.id, signature="")
    return named._replace(signature=b64encode(key.private.sign(canonical(named))).decode())


def verify(record: Manifest | Checkpoint, trusted: TrustedKeys) -> None:
    """ModelError unless a trusted key signed exactly this; NoTrustedKeyError if no key is trusted yet."""
    if not record.signature:
        raise ModelError(
            f"{_name(record)} is not signed",
            "If it is of a release without signatures, start over: `stream-app reset PIPELINE --keep-raw`; if not, "
            "find out who writes to that topic",
        )
    key = trusted.key(record.key_id)
    try:
        key.verify(b64decode(record.signature, validate=True), canonical(record))
    except (InvalidSignature, ValueError):
        raise ModelError(
            f"the signature of {_name(record)} is not that of key {record.key_id}: somebody has changed it",
            "Find out who writes to that topic; roll back to another version, or publish a new one",
        ) from None


def canonical(record: Manifest | Checkpoint) -> bytes:
    """What is signed: the kind of record, then its fields as JSON, keys sorted, without `signature`.

    A field that has its default is left out, so a field that a later release adds does not invalidate what is there.
    """
    fields: dict[str, Any] = orjson.loads(record.encode())
    defaults = record._field_defaults
    said = {
        name: value
        for name, value in fields.items()
        if name != "signature" and not (name in defaults and value == defaults[name])
    }
    return f"stream-app {type(record).__name__.lower()}\n".encode() + orjson.dumps(
        said, option=orjson.OPT_SORT_KEYS
    )


def _name(record: Manifest | Checkpoint) -> str:
    return (
        f"version {record.version}"
        if isinstance(record, Manifest)
        else f"the checkpoint at offset {record.offset}"
    )
