"""A change of any field of a signed record is detected; other keys are not accepted."""

from pathlib import Path
from typing import Any

import pytest

from stream_app.errors import ModelError
from stream_app.model_store.key_files import create_key, revoke_key, rotate_key
from stream_app.model_store.signing import Signer, canonical_bytes, sign, verify
from stream_app.model_store.trusted_keys import NoTrustedKeyError, TrustedKeys
from tests.model_store.keyrings import CHECKPOINT, MANIFEST, key_paths_in

OTHERS: dict[type, Any] = {
    str: "learned",
    int: 3,
    float: 0.5,
    dict: {"x": 1},
    list: ["x"],
    type(None): 3,
}
CHANGES = [
    (record, name)
    for record in (MANIFEST, CHECKPOINT)
    for name in record._fields
    if name != "signature"
]


def changed(record: Any, name: str) -> Any:
    """Return the record with another value of the same type in one field."""
    value = getattr(record, name)
    other = {"origin": "trained", "python": "3.99"}.get(name, OTHERS[type(value)])
    assert other != value
    return record._replace(**{name: other})


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return Signer(key_paths_in(tmp_path))


@pytest.mark.parametrize("record", [MANIFEST, CHECKPOINT], ids=["manifest", "checkpoint"])
def test_a_signed_record_is_verified_after_encoding(signer: Signer, record: Any) -> None:
    found = type(record).decode(signer.sign(record).encode())
    verify(found, signer.trusted)
    assert found._replace(key_id="", signature="") == record


@pytest.mark.parametrize(
    ("record", "name"), CHANGES, ids=[f"{type(r).__name__}.{n}" for r, n in CHANGES]
)
def test_a_changed_field_invalidates_the_signature(signer: Signer, record: Any, name: str) -> None:
    with pytest.raises(
        ModelError, match="not among the trusted" if name == "key_id" else "somebody has changed it"
    ):
        verify(changed(signer.sign(record), name), signer.trusted)


@pytest.mark.parametrize("signature", ["AAAA", "no base64!", "é", "=" * 88])
def test_a_damaged_signature_is_rejected(signer: Signer, signature: str) -> None:
    with pytest.raises(ModelError, match="somebody has changed it"):
        verify(signer.sign(MANIFEST)._replace(signature=signature), signer.trusted)


def test_signatures_of_manifests_do_not_fit_checkpoints() -> None:
    assert canonical_bytes(MANIFEST).split(b"\n")[0] != canonical_bytes(CHECKPOINT).split(b"\n")[0]


def test_an_unsigned_record_is_an_error_with_a_remedy(signer: Signer) -> None:
    with pytest.raises(ModelError, match=r"is not signed.*start over"):
        verify(MANIFEST, signer.trusted)


def test_a_key_of_another_pipeline_is_rejected(signer: Signer, tmp_path: Path) -> None:
    stranger = create_key(key_paths_in(tmp_path / "other"))
    with pytest.raises(ModelError, match=f"{stranger.id} is not among the trusted"):
        verify(sign(MANIFEST, stranger), signer.trusted)


def test_a_signature_under_a_false_key_id_is_rejected(signer: Signer, tmp_path: Path) -> None:
    stranger = create_key(key_paths_in(tmp_path / "other"))
    (ours,) = signer.trusted.ids
    with pytest.raises(ModelError, match="somebody has changed it"):
        verify(sign(MANIFEST, stranger._replace(id=ours)), signer.trusted)


def test_without_any_trusted_key_the_error_says_how_to_create_one(
    signer: Signer, tmp_path: Path
) -> None:
    with pytest.raises(NoTrustedKeyError, match="Start the learner"):
        verify(signer.sign(MANIFEST), TrustedKeys(tmp_path / "nowhere"))


def test_a_rotation_takes_effect_at_once_and_earlier_signatures_stay_valid(tmp_path: Path) -> None:
    signer = Signer(key_paths_in(tmp_path))
    before = signer.sign(MANIFEST)
    new = rotate_key(key_paths_in(tmp_path))
    after = signer.sign(MANIFEST)
    assert (after.key_id, before.key_id == new.id) == (new.id, False)
    verify(before, signer.trusted)
    verify(after, signer.trusted)


def test_a_revocation_takes_effect_at_once_for_signing_and_verifying(tmp_path: Path) -> None:
    signer = Signer(key_paths_in(tmp_path))
    before = signer.sign(MANIFEST)
    revoke_key(key_paths_in(tmp_path), before.key_id, "me", "stolen")
    with pytest.raises(ModelError, match="is revoked"):
        verify(before, signer.trusted)
    with pytest.raises(ModelError, match="is revoked"):
        signer.sign(MANIFEST)
    rotate_key(key_paths_in(tmp_path))
    verify(signer.sign(MANIFEST), signer.trusted)


def test_fields_with_their_default_are_not_signed() -> None:
    assert b"decision" not in canonical_bytes(MANIFEST)
    assert b'"decision":1' in canonical_bytes(MANIFEST._replace(decision=1))
