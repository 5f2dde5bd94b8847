"""What is said about the keys on a machine."""

from pathlib import Path

import pytest

from stream_app.doctor.key_checks import judge_keys
from stream_app.errors import ModelError
from stream_app.model_store.key_files import create_key, revoke_key, rotate_key
from tests.model_store.keyrings import places


def found(folder: Path) -> list[tuple[str, str]]:
    return [(finding.level, finding.message) for finding in judge_keys(places(folder))]


def test_keys_are_judged_by_who_signs_and_who_is_trusted(tmp_path: Path) -> None:
    assert found(tmp_path)[0][0] == "skipped"
    first = create_key(places(tmp_path))
    assert found(tmp_path) == [("ok", f"keys: 1 trusted; key {first.id} signs")]
    second = rotate_key(places(tmp_path))
    revoke_key(places(tmp_path), second.id, "me", "lost")
    assert found(tmp_path) == [("problem", f"the signing key {second.id} is revoked")]
    (tmp_path / "signing.pem").unlink()
    assert found(tmp_path) == [("ok", "keys: 1 trusted, none to sign with on this machine")]


def test_a_signing_key_that_others_can_read_is_a_warning(tmp_path: Path) -> None:
    create_key(places(tmp_path))
    (tmp_path / "signing.pem").chmod(0o640)
    assert [level for level, _ in found(tmp_path)] == ["ok", "warning"]


def test_a_damaged_signing_key_is_the_errors_line(tmp_path: Path) -> None:
    (tmp_path / "signing.pem").write_text("nonsense")
    with pytest.raises(ModelError, match="is no Ed25519 private key"):
        found(tmp_path)
