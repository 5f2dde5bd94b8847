"""Key files are created once, replaced atomically and private; damaged ones are errors."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from stream_app.errors import ModelError, OutputError
from stream_app.model_store.key_files import (
    create_key,
    key_paths,
    list_keys,
    load_signing_key,
    require_signing_key,
    revoke_key,
    rotate_key,
)
from stream_app.settings import KeySettings, Settings
from tests.model_store.keyrings import key_paths_in


def test_key_paths_follow_the_settings(tmp_path: Path) -> None:
    default = key_paths(Settings(data_dir=tmp_path), "p")
    assert (default.signing, default.trusted, default.explicit) == (
        tmp_path / "keys/p/signing.pem", tmp_path / "keys/p/trusted", False,
    )  # fmt: skip
    apart = KeySettings(signing_file=tmp_path / "vault.pem", trusted_folder=tmp_path / "public")
    assert key_paths(Settings(keys=apart), "p")[1:] == (
        tmp_path / "vault.pem",
        tmp_path / "public",
        True,
    )


def test_only_the_owner_may_read_the_private_key(tmp_path: Path) -> None:
    key = create_key(key_paths_in(tmp_path))
    private, public = tmp_path / "signing.pem", tmp_path / "trusted" / f"{key.id}.pem"
    assert [stat.S_IMODE(path.stat().st_mode) for path in (private, public)] == [0o600, 0o644]
    assert b"PRIVATE" in private.read_bytes()
    assert b"PRIVATE" not in public.read_bytes()
    assert "Ed25519" not in repr(key)


def test_concurrent_processes_create_one_first_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: require_signing_key(key_paths_in(tmp_path)).id, range(16)))
    assert found == {info.id for info in list_keys(key_paths_in(tmp_path))}
    assert len(found) == 1
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_keys_are_listed_with_use_and_revocation(tmp_path: Path) -> None:
    assert list_keys(key_paths_in(tmp_path)) == []
    first, second = create_key(key_paths_in(tmp_path)), rotate_key(key_paths_in(tmp_path))
    revoke_key(key_paths_in(tmp_path), first.id, "me@here", "stolen")
    infos = {info.id: info for info in list_keys(key_paths_in(tmp_path))}
    assert {key: info.signs for key, info in infos.items()} == {first.id: False, second.id: True}
    revoked = infos[first.id].revoked
    assert revoked is not None
    assert (revoked["who"], revoked["why"]) == ("me@here", "stolen")
    assert infos[second.id].revoked is None


def test_revoking_an_unknown_key_is_an_error(tmp_path: Path) -> None:
    key = create_key(key_paths_in(tmp_path))
    with pytest.raises(ModelError, match=f"no key '../x'.*{key.id}"):
        revoke_key(key_paths_in(tmp_path), "../x", "me", "why")


def test_a_key_at_an_explicit_path_is_never_created_silently(tmp_path: Path) -> None:
    named = key_paths_in(tmp_path)._replace(explicit=True)
    with pytest.raises(ModelError, match="keys create p"):
        require_signing_key(named)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_signing_key_becomes_trusted(tmp_path: Path) -> None:
    key = create_key(key_paths_in(tmp_path))
    (tmp_path / "trusted" / f"{key.id}.pem").unlink()
    assert require_signing_key(key_paths_in(tmp_path)).id == key.id
    assert [info.id for info in list_keys(key_paths_in(tmp_path))] == [key.id]


@pytest.mark.parametrize(
    "content", [b"", b"nonsense", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_a_damaged_key_file_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "signing.pem").write_bytes(content)
    with pytest.raises(ModelError, match=r"is not an Ed25519 private key.*keys rotate"):
        load_signing_key(key_paths_in(tmp_path))


def test_a_key_of_another_algorithm_is_an_error(tmp_path: Path) -> None:
    other = generate_private_key(SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    (tmp_path / "signing.pem").write_bytes(other)
    with pytest.raises(ModelError, match="is not an Ed25519 private key"):
        load_signing_key(key_paths_in(tmp_path))


def test_unreadable_and_unwritable_files_are_errors(tmp_path: Path) -> None:
    (tmp_path / "signing.pem").mkdir()
    with pytest.raises(ModelError, match="cannot be read: Is a directory"):
        load_signing_key(key_paths_in(tmp_path))
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="STREAM_APP_KEYS__FOLDER"):
        create_key(key_paths_in(tmp_path / "file"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may change the owner of files")
def test_a_rotated_key_keeps_the_owner_of_the_one_before(tmp_path: Path) -> None:
    create_key(key_paths_in(tmp_path))
    os.chown(tmp_path / "signing.pem", 10001, 10001)
    rotate_key(key_paths_in(tmp_path))
    found = (tmp_path / "signing.pem").stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (10001, 10001, 0o600)
