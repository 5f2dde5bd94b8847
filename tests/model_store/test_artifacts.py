"""The artifact store is atomic, verified and idempotent, also under kill -9."""

import multiprocessing
import os
import time
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from stream_app.errors import ModelError
from stream_app.model_store.artifacts import Artifact, ArtifactStore
from tests.patience import PATIENCE


@pytest.fixture(params=["folder", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ArtifactStore:
    """Store in a local folder, and in another file system."""
    return ArtifactStore(tmp_path.as_uri() if request.param == "folder" else f"memory://{tmp_path}")


def test_stored_bytes_are_returned_by_their_hash(store: ArtifactStore) -> None:
    artifact = store.put(b"model")
    assert artifact == Artifact(sha256(b"model").hexdigest(), 5)
    assert store.get(*artifact) == b"model"


def test_storing_the_same_bytes_twice_changes_nothing(store: ArtifactStore) -> None:
    assert store.put(b"model") == store.put(b"model")
    assert store.get(*store.put(b"model")) == b"model"


def test_a_deleted_artifact_is_missing_and_can_be_deleted_again(store: ArtifactStore) -> None:
    artifact = store.put(b"model")
    store.delete(artifact.sha256)
    store.delete(artifact.sha256)
    with pytest.raises(ModelError, match="is missing"):
        store.get(*artifact)


class ObjectStore(MemoryFileSystem):  # type: ignore[misc]
    """File system without empty folders."""

    protocol = "objects"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Creates nothing."""


@pytest.mark.parametrize("scheme", ["file", "memory", "objects"])
def test_deleting_a_store_leaves_other_stores_alone(scheme: str, tmp_path: Path) -> None:
    fsspec.register_implementation("objects", ObjectStore, clobber=True)
    store, neighbour = (ArtifactStore(f"{scheme}://{tmp_path}/{name}") for name in ("pay", "pay-2"))
    gone, kept = store.put(b"model"), neighbour.put(b"model")
    store.delete_all()
    with pytest.raises(ModelError, match="is missing"):
        store.get(*gone)
    assert neighbour.get(*kept) == b"model"
    ArtifactStore(f"{scheme}://{tmp_path}/pay").delete_all()


@pytest.mark.parametrize("damage", [b"", b"mod", b"MODEL", b"model and more"])
def test_a_damaged_artifact_is_an_error_that_names_it(tmp_path: Path, damage: bytes) -> None:
    store = ArtifactStore(str(tmp_path))
    artifact = store.put(b"model")
    (tmp_path / artifact.sha256).write_bytes(damage)
    with pytest.raises(ModelError, match=f"{artifact.sha256} is damaged") as caught:
        store.get(*artifact)
    assert "backup" in caught.value.remedy


def test_a_file_of_the_wrong_size_is_written_again(tmp_path: Path) -> None:
    store = ArtifactStore(str(tmp_path))
    artifact = store.put(b"model")
    (tmp_path / artifact.sha256).write_bytes(b"mo")
    store.put(b"model")
    assert store.get(*artifact) == b"model"


def test_old_temporary_files_of_killed_processes_are_deleted(tmp_path: Path) -> None:
    old, fresh = tmp_path / ".writing-old", tmp_path / ".writing-fresh"
    for file in (old, fresh):
        file.write_bytes(b"half")
    an_hour_ago = time.time() - 3700
    os.utime(old, (an_hour_ago, an_hour_ago))
    ArtifactStore(str(tmp_path))
    assert (old.exists(), fresh.exists()) == (False, True)


def _keep_writing(folder: str) -> None:
    store = ArtifactStore(folder)
    for i in range(100_000):
        store.put(bytes([i % 256]) * 300_000)


def test_a_process_killed_while_writing_leaves_no_partial_artifact(
    tmp_path: Path,
) -> None:
    for after in (0.02, 0.05, 0.09):
        process = multiprocessing.get_context("spawn").Process(
            target=_keep_writing, args=(str(tmp_path),)
        )
        process.start()
        deadline = time.monotonic() + 20 * PATIENCE
        while not list(tmp_path.glob("[!.]*")) and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(after)
        process.kill()
        process.join()
        process.close()
    files = list(tmp_path.glob("[!.]*"))
    assert files
    assert all(sha256(file.read_bytes()).hexdigest() == file.name for file in files)
