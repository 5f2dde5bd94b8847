"""Signatures of manifests and checkpoints: Ed25519 over all their fields.

A publisher calls `Signer.sign` last, before it encodes a record. A reader calls `verify` first.
The signed fields include the pipeline, the version, the artifact's SHA-256 and the runtime, so none
of these can be exchanged for those of another record with a valid signature.
"""

from base64 import b64decode, b64encode
from typing import Any, TypeVar

import orjson
from cryptography.exceptions import InvalidSignature

from stream_app.errors import ModelError
from stream_app.model_store.key_files import (
    KeyPaths,
    SigningKey,
    file_stamp,
    key_paths,
    require_signing_key,
)
from stream_app.model_store.manifest import Checkpoint, Manifest
from stream_app.model_store.trusted_keys import TrustedKeys
from stream_app.settings import Settings

Signed = TypeVar("Signed", Manifest, Checkpoint)


class Signer:
    """Signs records of one pipeline with the key that is in use at that moment.

    A rotation takes effect without a restart. Creates the first key at the default path.

    Attributes:
        trusted: keys that verify the signatures.

    Raises:
        ModelError: there is no key at a path that the settings name.
    """

    def __init__(self, paths: KeyPaths) -> None:
        self._paths = paths
        self.trusted = TrustedKeys(paths.trusted)
        self._key, self._stamp = require_signing_key(paths), file_stamp(paths.signing)

    def sign(self, record: Signed) -> Signed:
        """Return the record with key id and signature.

        Raises:
            ModelError: the key is missing, damaged or revoked.
        """
        stamp = file_stamp(self._paths.signing)
        if stamp != self._stamp:
            self._key, self._stamp = require_signing_key(self._paths), stamp
        self.trusted.key(self._key.id)
        return sign(record, self._key)


def open_signer(settings: Settings, pipeline: str) -> Signer:
    """Open the signer of a pipeline, given by name."""
    return Signer(key_paths(settings, pipeline))


def sign(record: Signed, key: SigningKey) -> Signed:
    """Return the record with the id of a key and its signature over all other fields."""
    unsigned = record._replace(key_id=key.id, signature="")
    signature = key.private.sign(canonical_bytes(unsigned))
    return unsigned._replace(signature=b64encode(signature).decode())


def verify(record: Manifest | Checkpoint, trusted: TrustedKeys) -> None:
    """Check that a trusted key signed exactly this record.

    Raises:
        NoTrustedKeyError: no key is trusted yet.
        ModelError: the signature is missing, invalid, or of a key that is not trusted.
    """
    if not record.signature:
        raise ModelError(
            f"{_describe(record)} is not signed",
            "If it is of a release without signatures, start over: "
            "`stream-app reset PIPELINE --keep-raw`. If not, find out who writes to that topic",
        )
    key = trusted.key(record.key_id)
    try:
        key.verify(b64decode(record.signature, validate=True), canonical_bytes(record))
    except (InvalidSignature, ValueError):
        raise ModelError(
            f"the signature of {_describe(record)} is not that of key {record.key_id}: "
            "somebody has changed it",
            "Find out who writes to that topic; roll back to another version, or publish a new one",
        ) from None


def canonical_bytes(record: Manifest | Checkpoint) -> bytes:
    """Return the bytes to sign: the kind of record, then its fields as sorted JSON.

    Leaves out `signature`, and fields that have their default: a field that a later release adds
    does not invalidate existing signatures.
    """
    fields: dict[str, Any] = orjson.loads(record.encode())
    defaults = record._field_defaults
    signed = {
        name: value
        for name, value in fields.items()
        if name != "signature" and not (name in defaults and value == defaults[name])
    }
    return f"stream-app {type(record).__name__.lower()}\n".encode() + orjson.dumps(
        signed, option=orjson.OPT_SORT_KEYS
    )


def _describe(record: Manifest | Checkpoint) -> str:
    return (
        f"version {record.version}"
        if isinstance(record, Manifest)
        else f"the checkpoint at offset {record.offset}"
    )
