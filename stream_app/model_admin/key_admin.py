"""Acts on a pipeline's keys: the files change first, then the audit says so, with nobody else deciding in between."""

from collections.abc import Callable

from stream_app.core.monitoring.audit_entry import ActName, act_output
from stream_app.errors import DecisionError
from stream_app.model_admin.decisions import Reason
from stream_app.model_admin.model_admin import ModelAdmin
from stream_app.model_store.key_files import (
    DamagedKeyError,
    KeyPlaces,
    create_key,
    list_keys,
    load_signing_key,
    revoke_key,
    rotate_key,
)
from stream_app.records import Output

_Change = Callable[
    [], tuple[str, str, str]
]  # changes the files; what it is about, how that was and is now


def create(desk: ModelAdmin, places: KeyPlaces, why: Reason) -> str:
    """Make the first signing key; returns its id. DecisionError if there is one."""
    there = load_signing_key(places)
    if there is not None:
        raise DecisionError(
            f"There is a signing key already, {there.id} in {places.signing}",
            "Make another one the key in use with `stream-app keys rotate PIPELINE`",
        )

    def change() -> tuple[str, str, str]:
        return "the signing key", "none", create_key(places).id

    return _decide(desk, "key-create", why, change)


def rotate(desk: ModelAdmin, places: KeyPlaces, why: Reason) -> str:
    """Sign with a new key from now on; returns its id. DecisionError if there is none to replace."""
    before = _in_use(places)
    if before is None:
        raise DecisionError(
            f"There is no signing key {places.signing} to replace",
            "Make one: `stream-app keys create PIPELINE`",
        )

    def change() -> tuple[str, str, str]:
        return "the signing key", before, rotate_key(places).id

    return _decide(desk, "key-rotate", why, change)


def revoke(
    desk: ModelAdmin, places: KeyPlaces, key_id: str, why: Reason, *, force: bool = False
) -> None:
    """Trust nothing that this key has signed; with `force` also if who starts now could load nothing then.

    DecisionError if it is the key in use, is revoked already, or is still needed; ModelError if there is no such key.
    """
    known = {fact.id: fact for fact in list_keys(places)}
    if key_id in known and known[key_id].revoked is not None:
        raise DecisionError(
            f"The key {key_id} is revoked already", "See `stream-app keys list PIPELINE`"
        )
    if key_id in known and known[key_id].signs:
        raise DecisionError(
            f"The learner signs with the key {key_id}, and could publish nothing without it",
            "Make another one the key in use first, with `stream-app keys rotate PIPELINE`, and then revoke this one",
        )
    needed = [] if force else _signed_with(desk, key_id)
    if needed:
        raise DecisionError(
            f"The key {key_id} has signed {' and '.join(needed)}, which nobody who starts could load then",
            "Wait until the learner has learned more and signed the next with the key in use, or say --force: scorers "
            "that run keep serving, and a learner that runs goes on",
        )

    def change() -> tuple[str, str, str]:
        revoke_key(places, key_id, why.who, why.why)
        return f"key {key_id}", "trusted", "revoked"

    _decide(desk, "key-revoke", why, change)


def _signed_with(desk: ModelAdmin, key_id: str) -> list[str]:
    """What is in use, and was signed with this key."""
    registry, checkpoint = desk.registry(), desk.checkpoint()
    served = None if registry.served is None else registry.versions.get(registry.served)
    found = (
        []
        if served is None or served.key_id != key_id
        else [f"the served version {served.version}"]
    )
    return found + (
        [] if checkpoint is None or checkpoint.key_id != key_id else ["the learner's checkpoint"]
    )


def _in_use(places: KeyPlaces) -> str | None:
    try:
        key = load_signing_key(places)
    except DamagedKeyError:
        return "a damaged file"
    return None if key is None else key.id


def _decide(desk: ModelAdmin, act: ActName, why: Reason, change: _Change) -> str:
    """Returns how it is now."""
    found: list[str] = []

    def make(_: object) -> list[Output]:
        what, before, after = change()
        found.append(after)
        return [
            act_output(
                desk.name,
                act,
                at=why.at,
                who=why.who,
                what=what,
                why=why.why,
                before=before,
                after=after,
            )
        ]

    desk.decide(make)
    return found[-1]
