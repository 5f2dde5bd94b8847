"""Somebody writes to the models topic or the store: scorers refuse it, say so, serve on, and recover by themselves."""

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
    """May write to `<pipeline>.models` and to the store, and in some cases has the signing key."""

    def __init__(self, system: VersionedSystem, folder: Path) -> None:
        self.system = system
        self.folder = folder
        self.places = key_paths(system.settings, system.name)
        self.marker = folder / "marker"

    @property
    def genuine(self) -> Manifest:
        """What is served, renumbered."""
        return self.system.registry.current._replace(version=10**9)

    def sign(self, manifest: Manifest) -> Manifest:
        """With the learner's own key."""
        key = load_signing_key(self.places)
        assert key is not None
        return sign(manifest, key)

    def by_stranger(self) -> Manifest:
        """Signed by a key that nobody trusts."""
        return sign(
            self.genuine,
            create_key(self.places._replace(signing=self.folder / "s", trusted=self.folder / "t")),
        )

    def by_revoked(self) -> Manifest:
        """Signed by a key that was trusted once."""
        key = create_key(self.places._replace(signing=self.folder / "r"))
        revoke_key(self.places, key.id, "test", "test")
        return sign(self.genuine, key)

    def pickled(self, thing: Any) -> Manifest:
        """An artifact of one's own, well signed."""
        artifact = self.system.loader.store.put(dump(thing))
        return self.sign(self.genuine._replace(sha256=artifact.sha256, size=artifact.size))

    def tampered(self) -> Manifest:
        """A well signed artifact that was changed afterwards."""
        manifest = self.pickled([1, 2, 3])
        Path(self.system.loader.store.locate(manifest.sha256)).write_bytes(b"x" * manifest.size)
        return manifest

    def serve(self, value: bytes) -> None:
        """Write it as a version's manifest, and have it served."""
        self.system.send("models", value, version_key(10**9).encode())
        self.system.send("models", encode_alias(Alias(10**9)), CHAMPION_KEY.encode())
        self.system.producer.flush()


class Call:
    """Pickles to the call of anything."""

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
    "a strange key": (lambda it: it.by_stranger().encode(), "not among the trusted"),
    "a revoked key": (lambda it: it.by_revoked().encode(), "is revoked"),
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


def test_what_must_not_be_loaded_is_refused_and_the_last_good_version_serves(
    intruder: Intruder,
) -> None:
    system = intruder.system
    for name, (make, expected) in CASES.items():
        good = system.registry.current.version
        system.serves(good)
        intruder.serve(make(intruder))
        system.until(lambda: open_alarm(system) is True, 20, f"{name}: no alarm")
        assert expected in system.log("score-0"), (name, system.log("score-0"))
        marked = len(system.read("scored"))
        system.send_batch(5)
        system.await_outcomes()
        assert {value["model"]["version"] for value in system.values("scored")[marked:]} <= {
            good
        }, name
        system.learn()
        system.until(lambda: open_alarm(system) is False, 20, f"{name}: the alarm does not end")
        assert not intruder.marker.exists()
    assert all(worker.poll() is None for worker in system.workers.values())


def test_a_scorer_that_starts_while_the_served_version_is_refused_serves_the_one_before(
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


def test_keys_are_rotated_and_revoked_while_everything_runs(intruder: Intruder) -> None:
    system = intruder.system
    first = system.registry.current.key_id
    assert "in use" in keys(system, "list")
    assert "could publish nothing without it" in keys(
        system, "revoke", first, "--why", "test", code=20
    )
    keys(system, "rotate", "--why", "yearly")
    refused = keys(system, "revoke", first, "--why", "stolen", code=20)
    assert "has signed the served version" in refused
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
    acts = [(act["operation"], act["why"], act["before"], act["after"]) for act in system.admin.audit_entries()]
    assert [act for act in acts if act[0].startswith("key")] == [
        ("key-rotate", "yearly", first, second),
        ("key-revoke", "stolen", "trusted", "revoked"),
    ]


def keys(system: VersionedSystem, act: str, *words: str, code: int = 0) -> str:
    done = system.command("keys", act, "PIPELINE", *words)
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr.splitlines()[-1]


def open_alarm(system: VersionedSystem) -> bool | None:
    """Whether a scorer's newest word is that a version is refused; None before it has said anything about it."""
    told = [
        value
        for value in system.values("monitoring")
        if (value["kind"], value["name"]) == ("alarm", ALARM)
    ]
    newest = {value["source"]: value["breached"] for value in told}
    return any(newest.values()) if newest else None
