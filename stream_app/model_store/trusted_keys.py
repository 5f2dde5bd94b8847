"""Trusted keys: the public keys in a folder, without the revoked ones."""

from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from stream_app.errors import ModelError

PUBLIC_SUFFIX, REVOKED_SUFFIX = ".pem", ".revoked"

# Name, modification time, size and inode of each file.
_Snapshot = frozenset[tuple[str, int, int, int]]


class NoTrustedKeyError(ModelError):
    """No key is trusted yet; the learner may be about to create the first one."""


class TrustedKeys:
    """Public keys of a folder, each a PEM file; a file `<key id>.revoked` revokes a key.

    The folder is read again when a file in it has changed, so a new or revoked key takes effect
    with the next verification.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._snapshot: _Snapshot | None = None
        self._keys: dict[str, Ed25519PublicKey] = {}
        self._revoked: frozenset[str] = frozenset()
        self._unreadable: list[str] = []

    @property
    def ids(self) -> frozenset[str]:
        """Ids of the keys that are trusted now."""
        self._refresh()
        return frozenset(self._keys) - self._revoked

    def key(self, key_id: str) -> Ed25519PublicKey:
        """Return a trusted key.

        Raises:
            NoTrustedKeyError: the folder has no key.
            ModelError: the key is revoked or unknown.
        """
        self._refresh()
        if key_id in self._revoked:
            raise ModelError(
                f"the key {key_id} is revoked",
                "Wait for a version that is signed with the present key. If the learner cannot "
                "start because of it, start over: `stream-app reset PIPELINE --keep-raw`",
            )
        if key_id in self._keys:
            return self._keys[key_id]
        damaged = (
            f"; not an Ed25519 public key: {', '.join(self._unreadable)}"
            if self._unreadable
            else ""
        )
        if not self._keys:
            raise NoTrustedKeyError(
                f"there is no trusted key in {self.folder}{damaged}",
                "Start the learner, which creates one, or copy its public key there and name the "
                "folder in STREAM_APP_KEYS__TRUSTED_FOLDER",
            )
        raise ModelError(
            f"the key {key_id} is not among the trusted ones in {self.folder}{damaged}",
            "If it is the learner's, copy its public key there. If not, find out who signs",
        )

    def _refresh(self) -> None:
        try:
            snapshot = self._take_snapshot()
            if snapshot != self._snapshot:
                self._read(sorted(name for name, *_ in snapshot))
                self._snapshot = snapshot
        except OSError as error:
            raise ModelError(
                f"the trusted keys in {self.folder} cannot be read: {error.strerror or error}",
                "Allow this user to read the folder",
            ) from error

    def _take_snapshot(self) -> _Snapshot:
        if not self.folder.exists():
            return frozenset()
        files: set[tuple[str, int, int, int]] = set()
        for path in self.folder.iterdir():
            # Removed in the meantime, or a link to a file that is, as in a folder of Kubernetes.
            with suppress(FileNotFoundError):
                if path.suffix in (PUBLIC_SUFFIX, REVOKED_SUFFIX):
                    stat = path.stat()
                    files.add((path.name, stat.st_mtime_ns, stat.st_size, stat.st_ino))
        return frozenset(files)

    def _read(self, names: list[str]) -> None:
        keys: dict[str, Ed25519PublicKey] = {}
        self._unreadable = []
        for name in names:
            if name.endswith(PUBLIC_SUFFIX):
                key = read_public_key(self.folder / name)
                if key is None:
                    self._unreadable.append(name)
                else:
                    keys[key_id_of(key)] = key
        self._keys = keys
        self._revoked = frozenset(
            name.removesuffix(REVOKED_SUFFIX) for name in names if name.endswith(REVOKED_SUFFIX)
        )


def read_public_key(path: Path) -> Ed25519PublicKey | None:
    """Return the key in a PEM file, or None if the file holds something else."""
    try:
        key = load_pem_public_key(path.read_bytes())
    except (ValueError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, Ed25519PublicKey) else None


def key_id_of(key: Ed25519PublicKey) -> str:
    """Return the id of a key: the first 16 hexadecimal digits of the SHA-256 of its 32 bytes."""
    return sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:16]
