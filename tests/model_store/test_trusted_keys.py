"""Trusted keys are the current public keys of a folder without the revoked ones."""

from pathlib import Path

import pytest

from stream_app.errors import ModelError
from stream_app.model_store.key_files import create_key, revoke_key, rotate_key
from stream_app.model_store.trusted_keys import NoTrustedKeyError, TrustedKeys
from tests.model_store.keyrings import key_paths_in


def test_a_key_is_trusted_from_its_creation_until_its_revocation(tmp_path: Path) -> None:
    trusted = TrustedKeys(tmp_path / "trusted")
    assert trusted.ids == frozenset()
    first = create_key(key_paths_in(tmp_path))
    assert trusted.ids == {first.id}
    second = rotate_key(key_paths_in(tmp_path))
    assert trusted.ids == {first.id, second.id}
    revoke_key(key_paths_in(tmp_path), first.id, "me", "old")
    assert trusted.ids == {second.id}
    with pytest.raises(ModelError, match="is revoked"):
        trusted.key(first.id)


def test_an_empty_revocation_file_revokes_a_key(tmp_path: Path) -> None:
    key = create_key(key_paths_in(tmp_path))
    (tmp_path / "trusted" / f"{key.id}.revoked").touch()
    assert TrustedKeys(tmp_path / "trusted").ids == frozenset()


def test_the_id_of_a_key_does_not_depend_on_its_file_name(tmp_path: Path) -> None:
    key = create_key(key_paths_in(tmp_path))
    (tmp_path / "trusted" / f"{key.id}.pem").rename(tmp_path / "trusted" / "renamed.pem")
    assert TrustedKeys(tmp_path / "trusted").ids == {key.id}


def test_a_damaged_public_key_is_named_and_others_stay_trusted(tmp_path: Path) -> None:
    key = create_key(key_paths_in(tmp_path))
    trusted = TrustedKeys(tmp_path / "trusted")
    (tmp_path / "trusted" / "damaged.pem").write_text("-----BEGIN PUBLIC KEY-----\nnonsense\n")
    assert trusted.ids == {key.id}
    with pytest.raises(ModelError, match=r"not an Ed25519 public key: damaged\.pem"):
        trusted.key("0" * 16)


def test_a_private_key_in_the_trusted_folder_is_not_trusted(tmp_path: Path) -> None:
    create_key(key_paths_in(tmp_path))
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "a.pem").write_bytes((tmp_path / "signing.pem").read_bytes())
    with pytest.raises(NoTrustedKeyError, match=r"not an Ed25519 public key: a\.pem"):
        TrustedKeys(tmp_path / "only").key("0" * 16)


def test_an_unreadable_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ModelError, match=r"cannot be read.*Allow this user to read"):
        TrustedKeys(tmp_path / "file").key("0" * 16)
