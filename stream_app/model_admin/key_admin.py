"""Operations on signing keys: create, rotate and revoke.

The files change within a decision's transaction, so that nobody else decides in between; the audit
entry is committed after them.
"""

from collections.abc import Callable
from typing import NamedTuple

from stream_app.core.monitoring.audit_entry import AuditEntry, ModelOperation
from stream_app.errors import DecisionError
from stream_app.model_admin.model_admin import ModelAdmin
from stream_app.model_store.key_files import (
    DamagedKeyError,
    KeyPaths,
    create_key,
    list_keys,
    load_signing_key,
    revoke_key,
    rotate_key,
)
from stream_app.model_store.model_registry import Reason
from stream_app.records import Output


class _KeyChange(NamedTuple):
    """Subject of a change, with its state before and after."""

    subject: str
    before: str
    after: str


def create(admin: ModelAdmin, paths: KeyPaths, why: Reason) -> str:
    """Create the first signing key and return its id.

    Raises:
        DecisionError: there is a signing key already.
    """
    existing = load_signing_key(paths)
    if existing is not None:
        raise DecisionError(
            f"There is a signing key already, {existing.id} in {paths.signing}",
            "Replace it with `stream-app keys rotate PIPELINE`",
        )

    def change() -> _KeyChange:
        return _KeyChange("the signing key", "none", create_key(paths).id)

    return _decide(admin, "key-create", why, change)


def rotate(admin: ModelAdmin, paths: KeyPaths, why: Reason) -> str:
    """Replace the signing key and return the id of the new one.

    Raises:
        DecisionError: there is no signing key.
    """
    before = _signing_key_name(paths)
    if before is None:
        raise DecisionError(
            f"There is no signing key {paths.signing} to replace",
            "Create one: `stream-app keys create PIPELINE`",
        )

    def change() -> _KeyChange:
        return _KeyChange("the signing key", before, rotate_key(paths).id)

    return _decide(admin, "key-rotate", why, change)


def revoke(
    admin: ModelAdmin, paths: KeyPaths, key_id: str, why: Reason, *, force: bool = False
) -> None:
    """Revoke a key: versions that it has signed are no longer loaded.

    Args:
        force: revoke it even if the served version or the checkpoint is signed with it, which
            workers that start later cannot load then.

    Raises:
        DecisionError: it is the signing key, is revoked already, or is still needed.
        ModelError: there is no such key.
    """
    keys = {key.id: key for key in list_keys(paths)}
    if key_id in keys and keys[key_id].revoked is not None:
        raise DecisionError(
            f"The key {key_id} is revoked already", "See `stream-app keys list PIPELINE`"
        )
    if key_id in keys and keys[key_id].signs:
        raise DecisionError(
            f"The learner signs with the key {key_id}, and could not publish without it",
            "Replace it with `stream-app keys rotate PIPELINE` first, then revoke this one",
        )
    needed = [] if force else _signed_with(admin, key_id)
    if needed:
        raise DecisionError(
            f"The key {key_id} has signed {' and '.join(needed)}, "
            "which workers that start later could not load then",
            "Wait until the learner has published with the new key, or use --force: "
            "running scorers keep serving, and a running learner keeps learning",
        )

    def change() -> _KeyChange:
        revoke_key(paths, key_id, why.who, why.why)
        return _KeyChange(f"key {key_id}", "trusted", "revoked")

    _decide(admin, "key-revoke", why, change)


def _signed_with(admin: ModelAdmin, key_id: str) -> list[str]:
    """Return descriptions of the records in use that this key has signed."""
    registry, checkpoint = admin.registry(), admin.checkpoint()
    served = None if registry.served is None else registry.versions.get(registry.served)
    found = []
    if served is not None and served.key_id == key_id:
        found.append(f"the served version {served.version}")
    if checkpoint is not None and checkpoint.key_id == key_id:
        found.append("the learner's checkpoint")
    return found


def _signing_key_name(paths: KeyPaths) -> str | None:
    try:
        key = load_signing_key(paths)
    except DamagedKeyError:
        return "a damaged file"
    return None if key is None else key.id


def _decide(
    admin: ModelAdmin, operation: ModelOperation, why: Reason, change: Callable[[], _KeyChange]
) -> str:
    """Change the files, write the audit entry, and return the state after."""
    done: list[_KeyChange] = []

    def make(_: object) -> list[Output]:
        done.append(change())
        subject, before, after = done[-1]
        return [
            AuditEntry(
                operation,
                at=why.at,
                who=why.who,
                what=subject,
                why=why.why,
                before=before,
                after=after,
            ).output(admin.name)
        ]

    admin.decide(make)
    return done[-1].after
