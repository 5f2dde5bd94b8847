"""Key files: made once, replaced whole, readable by nobody else, and every damage is one line."""

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
    key_places,
    list_keys,
    load_signing_key,
    require_signing_key,
    revoke_key,
    rotate_key,
)
from stream_app.settings import KeySettings, Settings
from tests.model_store.keyrings import places


def test_where_keys_are(tmp_path: Path) -> None:
    default = key_places(Settings(data_dir=tmp_path), "p")
    assert (default.signing, default.trusted, default.given) == (
        tmp_path / "keys/p/signing.pem", tmp_path / "keys/p/trusted", False,
    )  # fmt: skip
    apart = KeySettings(signing_file=tmp_path / "vault.pem", trusted_folder=tmp_path / "public")
    assert key_places(Settings(keys=apart), "p")[1:] == (
        tmp_path / "vault.pem",
        tmp_path / "public",
        True,
    )


def test_only_the_private_key_is_private(tmp_path: Path) -> None:
    key = create_key(places(tmp_path))
    private, public = tmp_path / "signing.pem", tmp_path / "trusted" / f"{key.id}.pem"
    assert [stat.S_IMODE(path.stat().st_mode) for path in (private, public)] == [0o600, 0o644]
    assert b"PRIVATE" in private.read_bytes()
    assert b"PRIVATE" not in public.read_bytes()
    assert "Ed25519" not in repr(key)


def test_of_many_who_make_the_first_key_at_once_all_get_the_same(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: require_signing_key(places(tmp_path)).id, range(16)))
    assert found == {fact.id for fact in list_keys(places(tmp_path))}
    assert len(found) == 1
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_what_there_is_to_know_of_keys(tmp_path: Path) -> None:
    assert list_keys(places(tmp_path)) == []
    first, second = create_key(places(tmp_path)), rotate_key(places(tmp_path))
    revoke_key(places(tmp_path), first.id, "me@here", "stolen")
    facts = {fact.id: fact for fact in list_keys(places(tmp_path))}
    assert {key: fact.signs for key, fact in facts.items()} == {first.id: False, second.id: True}
    revoked = facts[first.id].revoked
    assert revoked is not None
    assert (revoked["who"], revoked["why"]) == ("me@here", "stolen")
    assert facts[second.id].revoked is None


def test_only_a_known_key_can_be_revoked(tmp_path: Path) -> None:
    key = create_key(places(tmp_path))
    with pytest.raises(ModelError, match=f"no key '../x'.*{key.id}"):
        revoke_key(places(tmp_path), "../x", "me", "why")


def test_a_named_file_is_never_made_silently(tmp_path: Path) -> None:
    named = places(tmp_path)._replace(given=True)
    with pytest.raises(ModelError, match="keys create p"):
        require_signing_key(named)
    assert list(tmp_path.iterdir()) == []


def test_a_key_that_was_brought_along_is_trusted(tmp_path: Path) -> None:
    key = create_key(places(tmp_path))
    (tmp_path / "trusted" / f"{key.id}.pem").unlink()
    assert require_signing_key(places(tmp_path)).id == key.id
    assert [fact.id for fact in list_keys(places(tmp_path))] == [key.id]


@pytest.mark.parametrize(
    "content", [b"", b"nonsense", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_a_damaged_key_file_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "signing.pem").write_bytes(content)
    with pytest.raises(ModelError, match=r"is no Ed25519 private key.*keys rotate"):
        load_signing_key(places(tmp_path))


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    other = generate_private_key(SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    (tmp_path / "signing.pem").write_bytes(other)
    with pytest.raises(ModelError, match="is no Ed25519 private key"):
        load_signing_key(places(tmp_path))


def test_what_cannot_be_read_or_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "signing.pem").mkdir()
    with pytest.raises(ModelError, match="cannot be read: Is a directory"):
        load_signing_key(places(tmp_path))
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="STREAM_APP_KEYS__FOLDER"):
        create_key(places(tmp_path / "file"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_a_rotated_key_belongs_to_the_user_of_the_one_before(tmp_path: Path) -> None:
    create_key(places(tmp_path))
    os.chown(tmp_path / "signing.pem", 10001, 10001)
    rotate_key(places(tmp_path))
    found = (tmp_path / "signing.pem").stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (10001, 10001, 0o600)
