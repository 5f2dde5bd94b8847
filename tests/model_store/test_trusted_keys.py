"""Whose signatures count: the public keys in a folder, as they are at that moment."""

from pathlib import Path

import pytest

from stream_app.errors import ModelError
from stream_app.model_store.key_files import create_key, revoke_key, rotate_key
from stream_app.model_store.trusted_keys import NoTrustedKeyError, TrustedKeys
from tests.model_store.keyrings import places


def test_a_key_counts_from_when_its_file_is_there_until_it_is_revoked(tmp_path: Path) -> None:
    trusted = TrustedKeys(tmp_path / "trusted")
    assert trusted.ids == frozenset()
    first = create_key(places(tmp_path))
    assert trusted.ids == {first.id}
    second = rotate_key(places(tmp_path))
    assert trusted.ids == {first.id, second.id}
    revoke_key(places(tmp_path), first.id, "me", "old")
    assert trusted.ids == {second.id}
    with pytest.raises(ModelError, match="is revoked"):
        trusted.key(first.id)


def test_an_empty_revocation_revokes_as_well(tmp_path: Path) -> None:
    key = create_key(places(tmp_path))
    (tmp_path / "trusted" / f"{key.id}.revoked").touch()
    assert TrustedKeys(tmp_path / "trusted").ids == frozenset()


def test_a_key_is_called_by_what_it_is_not_by_its_file(tmp_path: Path) -> None:
    key = create_key(places(tmp_path))
    (tmp_path / "trusted" / f"{key.id}.pem").rename(tmp_path / "trusted" / "renamed.pem")
    assert TrustedKeys(tmp_path / "trusted").ids == {key.id}


def test_a_damaged_public_key_is_named_and_hides_no_other(tmp_path: Path) -> None:
    key = create_key(places(tmp_path))
    trusted = TrustedKeys(tmp_path / "trusted")
    (tmp_path / "trusted" / "damaged.pem").write_text("-----BEGIN PUBLIC KEY-----\nnonsense\n")
    assert trusted.ids == {key.id}
    with pytest.raises(ModelError, match=r"damaged\.pem there is no Ed25519 public key"):
        trusted.key("0" * 16)


def test_a_private_key_among_the_public_ones_is_not_trusted(tmp_path: Path) -> None:
    create_key(places(tmp_path))
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "a.pem").write_bytes((tmp_path / "signing.pem").read_bytes())
    with pytest.raises(NoTrustedKeyError, match=r"a\.pem there is no"):
        TrustedKeys(tmp_path / "only").key("0" * 16)


def test_a_folder_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ModelError, match=r"cannot be read.*Let this user read it"):
        TrustedKeys(tmp_path / "file").key("0" * 16)
