"""Key files of a pipeline: its private signing key, and the public keys that are trusted.

Only the learner and `train` may read the private key.
"""

import os
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
from stream_app.files import atomic_file
from stream_app.model_store.trusted_keys import (
    PUBLIC_SUFFIX,
    REVOKED_SUFFIX,
    TrustedKeys,
    key_id_of,
    read_public_key,
)
from stream_app.settings import Settings

_PRIVATE_MODE, _PUBLIC_MODE = 0o600, 0o644


class DamagedKeyError(ModelError):
    """The file of the signing key holds something else."""


class KeyPaths(NamedTuple):
    """Paths of a pipeline's keys.

    Attributes:
        pipeline: name of the pipeline.
        signing: file of the private key.
        trusted: folder of the public keys.
        explicit: True if the settings name the signing file, which is then never created silently.
    """

    pipeline: str
    signing: Path
    trusted: Path
    explicit: bool


class SigningKey(NamedTuple):
    """Private key with its id."""

    id: str
    private: Ed25519PrivateKey

    def __repr__(self) -> str:
        return f"SigningKey({self.id})"


class KeyInfo(NamedTuple):
    """State of a public key.

    Attributes:
        id: id of the key.
        since: time of its creation, ISO 8601.
        signs: True for the key in use.
        revoked: "when", "who" and "why" of its revocation.
    """

    id: str
    since: str
    signs: bool
    revoked: dict[str, str] | None


def key_paths(settings: Settings, pipeline: str) -> KeyPaths:
    """Return the paths below `keys.folder`, unless the settings name others."""
    keys = settings.keys
    folder = (keys.folder or settings.data_dir / "keys") / pipeline
    return KeyPaths(
        pipeline,
        keys.signing_file or folder / "signing.pem",
        keys.trusted_folder or folder / "trusted",
        keys.signing_file is not None,
    )


def trusted_keys(settings: Settings, pipeline: str) -> TrustedKeys:
    """Return the keys that verify models of a pipeline, given by name."""
    return TrustedKeys(key_paths(settings, pipeline).trusted)


def load_signing_key(paths: KeyPaths) -> SigningKey | None:
    """Return the key in use, or None before the first one is created.

    Raises:
        ModelError: the file cannot be read.
        DamagedKeyError: the file holds something else.
    """
    try:
        private = load_pem_private_key(paths.signing.read_bytes(), None)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ModelError(
            f"the signing key {paths.signing} cannot be read: {error.strerror or error}",
            "Only the learner and `train` need it: allow the user that runs them to read it",
        ) from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise _damaged(paths) from None
    if not isinstance(private, Ed25519PrivateKey):
        raise _damaged(paths)
    return SigningKey(key_id_of(private.public_key()), private)


def require_signing_key(paths: KeyPaths) -> SigningKey:
    """Return the key in use and trust it. Creates the first key at the default path.

    Raises:
        ModelError: there is no key at a path that the settings name.
    """
    key = load_signing_key(paths)
    if key is None and paths.explicit:
        raise ModelError(
            f"there is no signing key {paths.signing}",
            "Correct STREAM_APP_KEYS__SIGNING_FILE, or create a key there: "
            f"`stream-app keys create {paths.pipeline}`",
        )
    if key is None:
        return create_key(paths)
    if not _public_file(paths, key.id).exists() and key.id not in {
        info.id for info in list_keys(paths)
    }:
        _trust_existing(paths, key)
    return key


def _trust_existing(paths: KeyPaths, key: SigningKey) -> None:
    try:
        _trust(paths, key)
    except OutputError:
        raise ModelError(
            f"the public key of the signing key {key.id} is not in {paths.trusted}, "
            "and this process cannot write there",
            f"Add it there: `openssl pkey -in {paths.signing.name} -pubout`",
        ) from None


def create_key(paths: KeyPaths) -> SigningKey:
    """Create the first signing key, or return the one that another process created first.

    Raises:
        OutputError: the files cannot be written.
    """
    key = _new_key()
    # The public key comes first, so that a signature is trusted from the start.
    _trust(paths, key)
    if not _write(paths.signing, _private_pem(key), _PRIVATE_MODE, replace=False):
        _public_file(paths, key.id).unlink(missing_ok=True)
        return require_signing_key(paths)
    return key


def rotate_key(paths: KeyPaths) -> SigningKey:
    """Replace the key in use. Signatures of the key before stay trusted.

    Raises:
        OutputError: the files cannot be written.
    """
    key = _new_key()
    _trust(paths, key)
    _write(paths.signing, _private_pem(key), _PRIVATE_MODE, replace=True)
    return key


def revoke_key(paths: KeyPaths, key_id: str, who: str, why: str) -> None:
    """Revoke a key: nothing that it has signed is loaded from now on.

    Raises:
        ModelError: there is no such key.
    """
    known = [info.id for info in list_keys(paths)]
    if key_id not in known:
        raise ModelError(
            f"there is no key {key_id!r} in {paths.trusted}",
            f"Choose one that exists: {', '.join(known) or 'none'}",
        )
    revocation = {"when": datetime.now(UTC).isoformat(timespec="seconds"), "who": who, "why": why}
    path = paths.trusted / f"{key_id}{REVOKED_SUFFIX}"
    _write(path, orjson.dumps(revocation), _PUBLIC_MODE, replace=True)


def list_keys(paths: KeyPaths) -> list[KeyInfo]:
    """Return every public key in the trusted folder, oldest first.

    Raises:
        ModelError: a file cannot be read.
    """
    signing = load_signing_key(paths)
    try:
        files = sorted(
            paths.trusted.glob(f"*{PUBLIC_SUFFIX}"),
            key=lambda path: (path.stat().st_mtime_ns, path.name),
        )
        keys = [(path, key) for path in files if (key := read_public_key(path)) is not None]
        return [
            KeyInfo(
                key_id_of(key),
                datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="seconds"),
                signing is not None and signing.id == key_id_of(key),
                _read_revocation(paths.trusted / f"{key_id_of(key)}{REVOKED_SUFFIX}"),
            )
            for path, key in keys
        ]
    except OSError as error:
        raise ModelError(
            f"the keys in {paths.trusted} cannot be read: {error.strerror or error}",
            "Allow this user to read them",
        ) from None


def file_stamp(path: Path) -> tuple[int, int, int] | None:
    """Return a value that changes whenever the file does, or None without a file."""
    with suppress(OSError):
        stat = path.stat()
        return stat.st_mtime_ns, stat.st_size, stat.st_ino
    return None


def _new_key() -> SigningKey:
    private = Ed25519PrivateKey.generate()
    return SigningKey(key_id_of(private.public_key()), private)


def _trust(paths: KeyPaths, key: SigningKey) -> None:
    public = key.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    _write(_public_file(paths, key.id), public, _PUBLIC_MODE, replace=True)


def _public_file(paths: KeyPaths, key_id: str) -> Path:
    return paths.trusted / f"{key_id}{PUBLIC_SUFFIX}"


def _private_pem(key: SigningKey) -> bytes:
    return key.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _read_revocation(path: Path) -> dict[str, str] | None:
    """Return the content of a revocation file; its existence alone revokes the key."""
    try:
        content: Any = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _write(path: Path, data: bytes, mode: int, *, replace: bool) -> bool:
    """Write a file atomically. Returns False if it exists and `replace` is False."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path, mode=mode, overwrite=replace, durable=True) as file:
            file.write(data)
            _keep_owner(file.fileno(), path)
    except FileExistsError:
        return False
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written: {error.strerror or error}",
            "Allow this user to write there, or set STREAM_APP_KEYS__FOLDER to another folder",
        ) from None
    return True


def _keep_owner(file: int, path: Path) -> None:
    """Give the new file to the owner of the one it replaces: the learner may run as that user."""
    with suppress(FileNotFoundError):
        before = path.stat()
        if (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
            os.fchown(file, before.st_uid, before.st_gid)


def _damaged(paths: KeyPaths) -> DamagedKeyError:
    return DamagedKeyError(
        f"{paths.signing} is not an Ed25519 private key in PEM without a password",
        "Name another file in STREAM_APP_KEYS__SIGNING_FILE, or replace the key: "
        "`stream-app keys rotate PIPELINE`",
    )
