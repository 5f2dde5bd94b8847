"""Tests the results of the check of signing keys."""

import os
from pathlib import Path

import pytest

from stream_app.doctor.model_checks import evaluate_key_files
from stream_app.errors import ModelError
from stream_app.model_store.key_files import create_key, revoke_key, rotate_key
from tests.model_store.keyrings import key_paths_in


def found(folder: Path) -> list[tuple[str, str]]:
    return [(result.level, result.message) for result in evaluate_key_files(key_paths_in(folder))]


def test_results_for_missing_present_and_revoked_keys(tmp_path: Path) -> None:
    assert found(tmp_path)[0][0] == "skipped"
    first = create_key(key_paths_in(tmp_path))
    assert found(tmp_path) == [("ok", f"keys: 1 trusted; key {first.id} signs")]
    second = rotate_key(key_paths_in(tmp_path))
    revoke_key(key_paths_in(tmp_path), second.id, "me", "lost")
    assert found(tmp_path) == [("problem", f"the signing key {second.id} is revoked")]
    (tmp_path / "signing.pem").unlink()
    assert found(tmp_path) == [("ok", "keys: 1 trusted, no signing key on this machine")]


def test_a_signing_key_that_others_can_read_is_a_warning(tmp_path: Path) -> None:
    create_key(key_paths_in(tmp_path))
    (tmp_path / "signing.pem").chmod(0o640)
    assert [level for level, _ in found(tmp_path)] == ["ok", "warning"]


def test_a_signing_key_may_be_readable_by_the_group_alone_if_another_user_owns_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root owns a Kubernetes Secret."""
    create_key(key_paths_in(tmp_path))
    owner = (tmp_path / "signing.pem").stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    (tmp_path / "signing.pem").chmod(0o440)
    assert [level for level, _ in found(tmp_path)] == ["ok"]
    (tmp_path / "signing.pem").chmod(0o444)
    assert [level for level, _ in found(tmp_path)] == ["ok", "warning"]


def test_a_damaged_signing_key_raises_a_model_error(tmp_path: Path) -> None:
    (tmp_path / "signing.pem").write_text("nonsense")
    with pytest.raises(ModelError, match="is not an Ed25519 private key"):
        found(tmp_path)
