"""The keys that model versions are signed with, as far as they are on this machine."""

import stat
from collections.abc import Iterator

from stream_app.doctor.context import DoctorContext
from stream_app.doctor.results import CheckResult, ok, problem, skipped, warning
from stream_app.model_store.key_files import KeyPlaces, key_places, list_keys, load_signing_key

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def check_keys(it: DoctorContext) -> Iterator[CheckResult]:
    """Somebody is trusted; a signing key that is here can be used, is not revoked, and its user alone can read it."""
    yield from judge_keys(key_places(it.settings, it.pipeline.name))


def judge_keys(places: KeyPlaces) -> Iterator[CheckResult]:
    """ModelError if a file cannot be read or is damaged."""
    facts = list_keys(places)
    trusted = [fact.id for fact in facts if fact.revoked is None]
    signing = load_signing_key(places)
    if signing is None and not trusted:
        yield skipped(
            f"there is no key in {places.trusted} yet",
            "The learner makes the first one; on other machines copy its public keys there",
        )
    elif signing is None:
        yield ok(f"keys: {len(trusted)} trusted, none to sign with on this machine")
    elif any(fact.id == signing.id and fact.revoked is not None for fact in facts):
        yield problem(
            f"the signing key {signing.id} is revoked",
            "Make another: `stream-app keys rotate PIPELINE`",
        )
    else:
        yield ok(f"keys: {len(trusted)} trusted; key {signing.id} signs")
    if signing is not None and places.signing.stat().st_mode & _OTHERS:
        yield warning(
            f"the signing key {places.signing} can be read by other users of this machine",
            f"chmod 600 {places.signing}, and rotate it if somebody may have read it",
        )
