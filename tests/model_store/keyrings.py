"""Key paths and records for tests of signatures."""

from pathlib import Path

from stream_app.model_store.key_files import KeyPaths
from stream_app.model_store.manifest import Checkpoint, Manifest, runtime

MANIFEST = Manifest(
    name="p",
    version=12,
    parent=7,
    created_at="2026-01-01T00:00:00.000Z",
    sha256="a" * 64,
    size=100,
    fingerprint="f1",
    learned=12,
    learned_through=1_700_000_000_000,
    metrics={"log_loss": 0.4},
    **runtime()._asdict(),
)
CHECKPOINT = Checkpoint(12, 7, "b" * 64, 100, "f1", *runtime(), "p")


def key_paths_in(folder: Path) -> KeyPaths:
    """Return the default paths of a pipeline's keys below a folder."""
    return KeyPaths("p", folder / "signing.pem", folder / "trusted", False)
