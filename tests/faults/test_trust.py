"""Untrusted manifests and artifacts are rejected; scorers serve the last good version."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stream_app.broker import EmbeddedBroker
from stream_app.model_store.key_files import create_key, key_paths, load_signing_key, revoke_key
from stream_app.model_store.manifest import CHAMPION_KEY, Alias, Manifest, encode_alias, version_key
from stream_app.model_store.pickling import dump
from stream_app.model_store.signing import sign
from tests.model_admin.decision_setup import VersionedSystem

pytestmark = pytest.mark.faults

ALARM = "model-rejected"


class Intruder:
    """Attacker who can write to `<p>.models` and the store, and sometimes has the signing key."""

    def __init__(self, system: VersionedSystem, folder: Path) -> None:
        self.system = system
        self.folder = folder
        self.places = key_paths(system.settings, system.name)
        self.marker = folder / "marker"

    @property
    def genuine(self) -> Manifest:
        """Manifest of the served version under another version number."""
        return self.system.registry.current._replace(version=10**9)

    def sign(self, manifest: Manifest) -> Manifest:
        """Signs a manifest with the learner's own key."""
        key = load_signing_key(self.places)
        assert key is not None
        return sign(manifest, key)

    def signed_by_unknown_key(self) -> Manifest:
        """Returns a manifest signed by an untrusted key."""
        return sign(
            self.genuine,
            create_key(self.places._replace(signing=self.folder / "s", trusted=self.folder / "t")),
        )

    def signed_by_revoked_key(self) -> Manifest:
        """Returns a manifest signed by a revoked key."""
        key = create_key(self.places._replace(signing=self.folder / "r"))
        revoke_key(self.places, key.id, "test", "test")
        return sign(self.genuine, key)

    def pickled(self, content: Any) -> Manifest:
        """Returns a correctly signed manifest of an artifact of any content."""
        artifact = self.system.loader.store.put(dump(content))
        return self.sign(self.genuine._replace(sha256=artifact.sha256, size=artifact.size))

    def tampered(self) -> Manifest:
        """Returns a correctly signed manifest of an artifact that was modified afterwards."""
        manifest = self.pickled([1, 2, 3])
        Path(self.system.loader.store.locate(manifest.sha256)).write_bytes(b"x" * manifest.size)
        return manifest

    def serve(self, value: bytes) -> None:
        """Writes a manifest and makes it the served version."""
        self.system.send("models", value, version_key(10**9).encode())
        self.system.send("models", encode_alias(Alias(10**9)), CHAMPION_KEY.encode())
        self.system.producer.flush()


class Call:
    """Pickles to a call of an arbitrary function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


CASES: dict[str, tuple[Callable[[Intruder], bytes], str]] = {
    "no manifest": (lambda it: b"nonsense", "cannot be read"),
    "a field of another type": (
        lambda it: it.genuine._replace(signature=[]).encode(),  # type: ignore[arg-type]
        "cannot be read",
    ),
    "no signature": (
        lambda it: it.genuine._replace(signature="", key_id="").encode(),
        "is not signed",
    ),
    "another version's manifest": (lambda it: it.system.registry.current.encode(), " names "),
    "a changed manifest": (lambda it: it.genuine.encode(), "somebody has changed it"),
    "an unknown key": (lambda it: it.signed_by_unknown_key().encode(), "not among the trusted"),
    "a revoked key": (lambda it: it.signed_by_revoked_key().encode(), "is revoked"),
    "a changed artifact": (lambda it: it.tampered().encode(), "SHA-256"),
    "another River": (
        lambda it: it.sign(it.genuine._replace(river="0.1.0")).encode(),
        "river 0.1.0",
    ),
    "os.system": (
        lambda it: it.pickled(Call(os.system, f"touch {it.marker}")).encode(),
        "posix.system, which models of the family linear may not contain",
    ),
    "getattr": (
        lambda it: it.pickled(Call(getattr, [], "append")).encode(),
        "which no model needs",
    ),
}


@pytest.fixture
def intruder(broker: EmbeddedBroker, tmp_path: Path) -> Iterator[Intruder]:
    with VersionedSystem(broker, tmp_path) as system:
        system.start_all()
        system.learn()
        yield Intruder(system, tmp_path)


def test_untrusted_versions_are_rejected_and_the_last_good_version_is_served(
    intruder: Intruder,
) -> None:
    system = intruder.system
    for name, (make, expected) in CASES.items():
        good = system.registry.current.version
        system.serves(good)
        intruder.serve(make(intruder))
        system.until(lambda: open_alarm(system) is True, 20, f"{name}: no alarm")
        assert expected in system.log("score-0"), (name, system.log("score-0"))
        before_batch = len(system.read("scored"))
        system.send_batch(5)
        system.await_outcomes()
        scored = system.values("scored")[before_batch:]
        assert {value["model"]["version"] for value in scored} <= {good}, name
        system.learn()
        system.until(lambda: open_alarm(system) is False, 20, f"{name}: the alarm does not end")
        assert not intruder.marker.exists()
    assert all(worker.poll() is None for worker in system.workers.values())


def test_a_scorer_that_starts_while_the_served_version_is_rejected_serves_the_previous_one(
    intruder: Intruder,
) -> None:
    system = intruder.system
    system.learn()
    good = system.registry.current
    system.kill("learn-0")
    changed = system.registry.current._replace(
        version=10**9, parent=good.version, learned=good.learned + 1
    )
    intruder.serve(changed.encode())
    system.until(lambda: open_alarm(system) is True, 20, "no alarm")
    system.kill("score-0")
    system.start("score")
    system.serves(good.version)
    assert "an older version is served" in system.log("score-0")
    assert open_alarm(system) is True
    system.start("learn")
    system.learn()
    system.until(lambda: open_alarm(system) is False, 20, "the alarm does not end")


def test_keys_can_be_rotated_and_revoked_while_workers_run(intruder: Intruder) -> None:
    system = intruder.system
    first = system.registry.current.key_id
    assert "in use" in keys(system, "list")
    assert "could not publish without it" in keys(system, "revoke", first, "--why", "test", code=20)
    keys(system, "rotate", "--why", "yearly")
    rejected = keys(system, "revoke", first, "--why", "stolen", code=20)
    assert "has signed the served version" in rejected
    system.learn(2)
    second = system.registry.current.key_id
    assert second != first
    system.until(
        lambda: system.admin.checkpoint().key_id == second,  # type: ignore[union-attr]
        20,
        "no checkpoint with the new key",
    )
    keys(system, "revoke", first, "--why", "stolen")
    assert "revoked already" in keys(system, "revoke", first, "--why", "again", code=20)
    assert "no key" in keys(system, "revoke", "0" * 16, "--why", "test", code=7)
    assert "is a signing key already" in keys(system, "create", "--why", "test", code=20)
    old = next(
        manifest for manifest in system.registry.versions.values() if manifest.key_id == first
    )
    assert "is revoked" in (system.loader.problem(old) or "")
    system.learn()
    system.serves(system.registry.current.version)
    for worker in ("learn-0", "score-0"):
        system.terminate(worker)
    system.start_all()
    system.learn()
    entries = [
        tuple(entry[name] for name in ("operation", "why", "before", "after"))
        for entry in system.admin.audit_entries()
    ]
    assert [entry for entry in entries if entry[0].startswith("key")] == [
        ("key-rotate", "yearly", first, second),
        ("key-revoke", "stolen", "trusted", "revoked"),
    ]


def keys(system: VersionedSystem, command: str, *words: str, code: int = 0) -> str:
    result = system.command("keys", command, "PIPELINE", *words)
    assert result.returncode == code, result.stderr
    return result.stdout if code == 0 else result.stderr.splitlines()[-1]


def open_alarm(system: VersionedSystem) -> bool | None:
    """Return True if a scorer's newest report is a rejected version; None without any report."""
    reports = [
        value
        for value in system.values("monitoring")
        if (value["kind"], value["name"]) == ("alarm", ALARM)
    ]
    newest = {value["source"]: value["breached"] for value in reports}
    return any(newest.values()) if newest else None
