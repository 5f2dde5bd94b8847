"""Signatures: nothing that a manifest or checkpoint says can be changed, and no other key will do."""

from pathlib import Path
from typing import Any

import pytest

from stream_app.errors import ModelError
from stream_app.model_store.key_files import create_key, revoke_key, rotate_key
from stream_app.model_store.signing import Signer, canonical, signed, verify
from stream_app.model_store.trusted_keys import NoTrustedKeyError, TrustedKeys
from tests.model_store.keyrings import CHECKPOINT, MANIFEST, places

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
    """The record with another value in this field, of the same kind."""
    value = getattr(record, name)
    other = {"origin": "trained", "python": "3.99"}.get(name, OTHERS[type(value)])
    assert other != value
    return record._replace(**{name: other})


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return Signer(places(tmp_path))


@pytest.mark.parametrize("record", [MANIFEST, CHECKPOINT], ids=["manifest", "checkpoint"])
def test_what_was_signed_is_verified_after_a_round_trip(signer: Signer, record: Any) -> None:
    found = type(record).decode(signer.signed(record).encode())
    verify(found, signer.trusted)
    assert found._replace(key_id="", signature="") == record


@pytest.mark.parametrize(
    ("record", "name"), CHANGES, ids=[f"{type(r).__name__}.{n}" for r, n in CHANGES]
)
def test_no_field_can_be_changed(signer: Signer, record: Any, name: str) -> None:
    with pytest.raises(
        ModelError, match="not among the trusted" if name == "key_id" else "somebody has changed it"
    ):
        verify(changed(signer.signed(record), name), signer.trusted)


@pytest.mark.parametrize("signature", ["AAAA", "no base64!", "é", "=" * 88])
def test_a_damaged_signature_is_refused(signer: Signer, signature: str) -> None:
    with pytest.raises(ModelError, match="somebody has changed it"):
        verify(signer.signed(MANIFEST)._replace(signature=signature), signer.trusted)


def test_a_manifest_cannot_pass_for_a_checkpoint() -> None:
    assert canonical(MANIFEST).split(b"\n")[0] != canonical(CHECKPOINT).split(b"\n")[0]


def test_an_unsigned_record_is_refused_and_the_remedy_named(signer: Signer) -> None:
    with pytest.raises(ModelError, match=r"is not signed.*start over"):
        verify(MANIFEST, signer.trusted)


def test_another_pipelines_key_is_refused(signer: Signer, tmp_path: Path) -> None:
    stranger = create_key(places(tmp_path / "other"))
    with pytest.raises(ModelError, match=f"{stranger.id} is not among the trusted"):
        verify(signed(MANIFEST, stranger), signer.trusted)


def test_a_stranger_who_claims_our_keys_id_is_refused(signer: Signer, tmp_path: Path) -> None:
    stranger = create_key(places(tmp_path / "other"))
    (ours,) = signer.trusted.ids
    with pytest.raises(ModelError, match="somebody has changed it"):
        verify(signed(MANIFEST, stranger._replace(id=ours)), signer.trusted)


def test_without_any_key_the_error_says_that_one_may_be_coming(
    signer: Signer, tmp_path: Path
) -> None:
    with pytest.raises(NoTrustedKeyError, match="Start the learner"):
        verify(signer.signed(MANIFEST), TrustedKeys(tmp_path / "nowhere"))


def test_a_rotation_counts_at_once_and_what_was_signed_before_stays_trusted(tmp_path: Path) -> None:
    signer = Signer(places(tmp_path))
    before = signer.signed(MANIFEST)
    new = rotate_key(places(tmp_path))
    after = signer.signed(MANIFEST)
    assert (after.key_id, before.key_id == new.id) == (new.id, False)
    verify(before, signer.trusted)
    verify(after, signer.trusted)


def test_a_revocation_counts_at_once_for_whoever_loads_and_whoever_signs(tmp_path: Path) -> None:
    signer = Signer(places(tmp_path))
    before = signer.signed(MANIFEST)
    revoke_key(places(tmp_path), before.key_id, "me", "stolen")
    with pytest.raises(ModelError, match="is revoked"):
        verify(before, signer.trusted)
    with pytest.raises(ModelError, match="is revoked"):
        signer.signed(MANIFEST)
    rotate_key(places(tmp_path))
    verify(signer.signed(MANIFEST), signer.trusted)


def test_a_field_that_a_later_release_adds_does_not_invalidate_what_is_there() -> None:
    assert b"epoch" not in canonical(MANIFEST)
    assert b'"epoch":1' in canonical(MANIFEST._replace(epoch=1))
