"""The keys whose signatures count, as whoever loads a model sees them: public keys in a folder, and the revoked."""

from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from stream_app.errors import ModelError

PUBLIC, REVOKED = ".pem", ".revoked"

_Snapshot = frozenset[tuple[str, int, int, int]]


class NoTrustedKeyError(ModelError):
    """There is no trusted key at all; a first one may be on its way."""


class TrustedKeys:
    """The public keys in `folder`, each a PEM file, without those that are revoked by a file `<key id>.revoked`.

    The folder is read again when a file in it has changed, so a new or revoked key counts from the next version on.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._snapshot: _Snapshot | None = None
        self._keys: dict[str, Ed25519PublicKey] = {}
        self._revoked: frozenset[str] = frozenset()
        self._unreadable: list[str] = []

    @property
    def ids(self) -> frozenset[str]:
        """Of the keys that are trusted now."""
        self._refresh()
        return frozenset(self._keys) - self._revoked

    def key(self, key_id: str) -> Ed25519PublicKey:
        """The key; ModelError if it is revoked or not known, NoTrustedKeyError if no key is."""
        self._refresh()
        if key_id in self._revoked:
            raise ModelError(
                f"the key {key_id} is revoked",
                "Wait for a version that is signed with the present key; if the learner cannot start for it, start "
                "over: `stream-app reset PIPELINE --keep-raw`",
            )
        if key_id in self._keys:
            return self._keys[key_id]
        damaged = (
            f"; {', '.join(self._unreadable)} there is no Ed25519 public key"
            if self._unreadable
            else ""
        )
        if not self._keys:
            raise NoTrustedKeyError(
                f"there is no trusted key in {self.folder}{damaged}",
                "Start the learner, which makes one, or copy its public key there and name the folder in "
                "STREAM_APP_KEYS__TRUSTED_FOLDER",
            )
        raise ModelError(
            f"the key {key_id} is not among the trusted ones in {self.folder}{damaged}",
            "If it is the learner's, copy its public key there; if not, find out who signs",
        )

    def _refresh(self) -> None:
        try:
            snapshot = self._look()
            if snapshot != self._snapshot:
                self._read(sorted(name for name, *_ in snapshot))
                self._snapshot = snapshot
        except OSError as error:
            raise ModelError(
                f"the trusted keys in {self.folder} cannot be read: {error.strerror or error}",
                "Let this user read it",
            ) from error

    def _look(self) -> _Snapshot:
        if not self.folder.exists():
            return frozenset()
        found = [path for path in self.folder.iterdir() if path.suffix in (PUBLIC, REVOKED)]
        stats = [(path.name, path.stat()) for path in found]
        return frozenset(
            (name, stat.st_mtime_ns, stat.st_size, stat.st_ino) for name, stat in stats
        )

    def _read(self, names: list[str]) -> None:
        keys: dict[str, Ed25519PublicKey] = {}
        self._unreadable = []
        for name in names:
            if name.endswith(PUBLIC):
                key = read_public(self.folder / name)
                if key is None:
                    self._unreadable.append(name)
                else:
                    keys[key_id_of(key)] = key
        self._keys = keys
        self._revoked = frozenset(
            name.removesuffix(REVOKED) for name in names if name.endswith(REVOKED)
        )


def read_public(path: Path) -> Ed25519PublicKey | None:
    """The key in a PEM file, None if it holds anything else."""
    try:
        key = load_pem_public_key(path.read_bytes())
    except (ValueError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, Ed25519PublicKey) else None


def key_id_of(key: Ed25519PublicKey) -> str:
    """What a key is called: 16 hexadecimal digits of the SHA-256 of its 32 bytes."""
    return sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:16]
