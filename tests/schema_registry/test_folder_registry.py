"""Folder registries: files added by hand, crashes, locks and invalid files."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from stream_app.errors import RegistryError, SettingsError
from stream_app.schema_registry import folder_registry, open_registry
from stream_app.schema_registry.folder_registry import FolderRegistry
from stream_app.settings import RegistrySettings
from tests.schema_registry.schemas import ID, schema_text


def test_files_added_by_hand_are_schemas_in_the_order_of_their_ids(tmp_path: Path) -> None:
    for name in ("10-a.raw-value", "9-a.raw-value", "007-b.raw-value"):
        (tmp_path / f"{name}.avsc").write_text(schema_text(ID, name=f"N{name.partition('-')[0]}"))
    (tmp_path / "README.md").write_text("ours")
    registry = FolderRegistry(tmp_path)
    assert registry.versions("a.raw-value") == [
        schema_text(ID, name="N9"),
        schema_text(ID, name="N10"),
    ]
    assert registry.schema(7) == schema_text(ID, name="N007")
    assert registry.register("b.raw-value", schema_text(ID)) == 11
    assert (tmp_path / "11-b.raw-value.avsc").read_text().startswith('{\n  "type": "record"')


def test_a_crash_while_registering_leaves_no_partial_schema(tmp_path: Path) -> None:
    (tmp_path / ".part").write_text('{"type": "rec')
    registry = FolderRegistry(tmp_path)
    assert registry.versions("a.raw-value") == []
    assert registry.register("a.raw-value", schema_text(ID)) == 1
    assert registry.schema(1).strip().endswith("}")


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"payments.avsc": "{}"}, "payments.avsc is not named <id>-<subject>.avsc. Rename it"),
        ({"1-a.avsc": "{}", "01-b.avsc": "{}"}, "have the same id"),
        ({"1-a.avsc": "{"}, "1-a.avsc is not a schema"),
        ({"1-a.avsc": "\udcff"}, "1-a.avsc is not a schema"),
    ],
)
def test_an_invalid_file_is_an_error_that_names_it(
    tmp_path: Path, files: dict[str, str], expected: str
) -> None:
    for name, content in files.items():
        (tmp_path / name).write_bytes(os.fsencode(content))
    with pytest.raises(RegistryError) as caught:
        FolderRegistry(tmp_path).schema(1)
    assert expected in str(caught.value)


def test_a_missing_folder_is_an_error_not_an_empty_registry(tmp_path: Path) -> None:
    registry = FolderRegistry(tmp_path / "absent")
    asks: list[Callable[[], object]] = [
        lambda: registry.schema(1),
        lambda: registry.versions("a"),
        lambda: registry.register("a", schema_text(ID)),
    ]
    for ask in asks:
        with pytest.raises(
            RegistryError, match=r"absent cannot be used: No such file or directory\. Create"
        ):
            ask()
    assert not (tmp_path / "absent").exists()


def test_waiting_for_the_lock_of_another_process_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_registry, "_LOCK_SECONDS", 0.05)
    with (
        FileLock(tmp_path / ".lock"),
        pytest.raises(RegistryError, match=r"locked by another process\. Try again"),
    ):
        FolderRegistry(tmp_path).register("a", schema_text(ID))


def test_a_file_url_names_a_folder_of_this_machine(tmp_path: Path) -> None:
    spaced = tmp_path / "my schemas@home"
    spaced.mkdir()
    for url in (spaced.as_uri(), spaced.as_uri().replace("file://", "file://localhost")):
        assert open_registry(RegistrySettings(url=url)).versions("a") == []
    for url in ("file://server/share", "file:schemas"):
        with pytest.raises(SettingsError, match="does not name a folder of this machine"):
            open_registry(RegistrySettings(url=url))
