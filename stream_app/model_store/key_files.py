"""Key files: a pipeline's signing key, which only the learner and `train` may read, and the public keys to trust."""

import os
import secrets
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from stream_app.errors import ModelError, OutputError
from stream_app.model_store.trusted_keys import PUBLIC, REVOKED, TrustedKeys, key_id_of, read_public
from stream_app.settings import Settings

_PRIVATE_MODE, _PUBLIC_MODE = 0o600, 0o644


class DamagedKeyError(ModelError):
    """The file of the signing key holds anything else."""


class KeyPlaces(NamedTuple):
    """Where a pipeline's keys are; `given` is whether the settings name the signing file, which then must be there."""

    pipeline: str
    signing: Path
    trusted: Path
    given: bool


class SigningKey(NamedTuple):
    """A private key and what it is called."""

    id: str
    private: Ed25519PrivateKey

    def __repr__(self) -> str:
        return f"SigningKey({self.id})"


class KeyInfo(NamedTuple):
    """What there is to know of a key; `revoked` says when, who and why, `signs` whether it is the one in use."""

    id: str
    since: str
    signs: bool
    revoked: dict[str, str] | None


def key_places(settings: Settings, pipeline: str) -> KeyPlaces:
    """Below `keys.folder`, unless the settings say otherwise."""
    keys = settings.keys
    folder = (keys.folder or settings.data_dir / "keys") / pipeline
    return KeyPlaces(
        pipeline,
        keys.signing_file or folder / "signing.pem",
        keys.trusted_folder or folder / "trusted",
        keys.signing_file is not None,
    )


def trusted_keys(settings: Settings, pipeline: str) -> TrustedKeys:
    """The keys that whoever loads a model of the pipeline so named trusts."""
    return TrustedKeys(key_places(settings, pipeline).trusted)


def load_signing_key(places: KeyPlaces) -> SigningKey | None:
    """The key in use, None before there is one; ModelError if it cannot be read, DamagedKeyError if it is none."""
    try:
        private = load_pem_private_key(places.signing.read_bytes(), None)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ModelError(
            f"the signing key {places.signing} cannot be read: {error.strerror or error}",
            "Only the learner and `train` need it: let the user that they run as read it",
        ) from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise _no_key(places) from None
    if not isinstance(private, Ed25519PrivateKey):
        raise _no_key(places)
    return SigningKey(key_id_of(private.public_key()), private)


def require_signing_key(places: KeyPlaces) -> SigningKey:
    """The key in use, trusted; in the default place the first one is made. ModelError if there is none."""
    key = load_signing_key(places)
    if key is None and places.given:
        raise ModelError(
            f"there is no signing key {places.signing}",
            f"Correct STREAM_APP_KEYS__SIGNING_FILE, or make a key there: `stream-app keys create {places.pipeline}`",
        )
    if key is None:
        return create_key(places)
    if not _public_file(places, key.id).exists() and key.id not in {
        fact.id for fact in list_keys(places)
    }:
        _trust(places, key)
    return key


def create_key(places: KeyPlaces) -> SigningKey:
    """Make the first key, unless somebody else was faster: then it is theirs. OutputError if it cannot be written."""
    key = _new()
    _trust(places, key)  # first, so that who signs is trusted already
    if not _write(places.signing, _private_pem(key), _PRIVATE_MODE, replace=False):
        _public_file(places, key.id).unlink(missing_ok=True)
        return require_signing_key(places)
    return key


def rotate_key(places: KeyPlaces) -> SigningKey:
    """Make another key the one in use, of the same user; what the one before has signed stays trusted.

    OutputError as above.
    """
    key = _new()
    _trust(places, key)
    _write(places.signing, _private_pem(key), _PRIVATE_MODE, replace=True)
    return key


def revoke_key(places: KeyPlaces, key_id: str, who: str, why: str) -> None:
    """From now on nothing that it has signed is loaded; ModelError if there is no such key."""
    known = [fact.id for fact in list_keys(places)]
    if key_id not in known:
        raise ModelError(
            f"there is no key {key_id!r} in {places.trusted}",
            f"Choose one that there is: {', '.join(known) or 'none'}",
        )
    said = {"when": datetime.now(UTC).isoformat(timespec="seconds"), "who": who, "why": why}
    _write(places.trusted / f"{key_id}{REVOKED}", orjson.dumps(said), _PUBLIC_MODE, replace=True)


def list_keys(places: KeyPlaces) -> list[KeyInfo]:
    """Every public key in the trusted folder, oldest first; ModelError if a file cannot be read."""
    signing = load_signing_key(places)
    try:
        paths = sorted(
            places.trusted.glob(f"*{PUBLIC}"), key=lambda path: (path.stat().st_mtime_ns, path.name)
        )
        keys = [(path, key) for path in paths if (key := read_public(path)) is not None]
        return [
            KeyInfo(
                key_id_of(key),
                datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="seconds"),
                signing is not None and signing.id == key_id_of(key),
                _revocation(places.trusted / f"{key_id_of(key)}{REVOKED}"),
            )
            for path, key in keys
        ]
    except OSError as error:
        raise ModelError(
            f"the keys in {places.trusted} cannot be read: {error.strerror or error}",
            "Let this user read them",
        ) from None


def stamp(path: Path) -> tuple[int, int, int] | None:
    """Changes whenever the file does; None without it."""
    with suppress(OSError):
        stat = path.stat()
        return stat.st_mtime_ns, stat.st_size, stat.st_ino
    return None


def _new() -> SigningKey:
    private = Ed25519PrivateKey.generate()
    return SigningKey(key_id_of(private.public_key()), private)


def _trust(places: KeyPlaces, key: SigningKey) -> None:
    public = key.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    _write(_public_file(places, key.id), public, _PUBLIC_MODE, replace=True)


def _public_file(places: KeyPlaces, key_id: str) -> Path:
    return places.trusted / f"{key_id}{PUBLIC}"


def _private_pem(key: SigningKey) -> bytes:
    return key.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _revocation(path: Path) -> dict[str, str] | None:
    """What its file says; that it is there is enough to revoke the key, whatever is in it."""
    try:
        said: Any = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _write(path: Path, data: bytes, mode: int, *, replace: bool) -> bool:
    """Write a file as a whole or not at all; False if it is there and is not to be replaced."""
    temporary = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
                file.write(data)
                _give_to_owner(file.fileno(), path)
                file.flush()
                os.fsync(file.fileno())
            if replace:
                temporary.replace(path)
            else:
                os.link(temporary, path)  # fails if it is there, which a rename does not
        finally:
            temporary.unlink(missing_ok=True)
    except FileExistsError:
        return False
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written: {error.strerror or error}",
            "Let this user write there, or name another place in STREAM_APP_KEYS__FOLDER",
        ) from None
    return True


def _give_to_owner(file: int, path: Path) -> None:
    """Whose file `path` was must be able to read the one that replaces it: the learner may run as another user."""
    with suppress(FileNotFoundError):
        before = path.stat()
        if (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
            os.fchown(file, before.st_uid, before.st_gid)


def _no_key(places: KeyPlaces) -> DamagedKeyError:
    return DamagedKeyError(
        f"{places.signing} is no Ed25519 private key in PEM without a password",
        "Name another file in STREAM_APP_KEYS__SIGNING_FILE, or make a new key: `stream-app keys rotate PIPELINE`",
    )
