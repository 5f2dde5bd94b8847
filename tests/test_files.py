"""A file is replaced as a whole, or not at all."""

import os
from pathlib import Path

import pytest

from stream_app.files import atomic_file, write_atomically


def test_a_write_replaces_the_file(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    for content in ("old", "new ä"):
        write_atomically(path, content, durable=True)
    assert path.read_text(encoding="utf-8") == "new ä"
    assert os.listdir(tmp_path) == ["state.json"]


def test_a_failed_write_leaves_the_old_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write_atomically(path, b"old")
    with pytest.raises(ZeroDivisionError), atomic_file(path) as file:  # noqa: PT012
        file.write(b"half")
        raise ZeroDivisionError
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["state.json"]


def test_a_taken_name_is_an_error_without_overwriting(tmp_path: Path) -> None:
    path = tmp_path / "export.csv"
    write_atomically(path, b"first")
    with pytest.raises(FileExistsError), atomic_file(path, overwrite=False) as file:
        file.write(b"second")
    assert path.read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["export.csv"]


def test_the_mode_holds_from_the_first_byte(tmp_path: Path) -> None:
    path = tmp_path / "signing.pem"
    with atomic_file(path, mode=0o600) as file:
        file.write(b"secret")
        (temporary,) = tmp_path.iterdir()
        assert temporary.stat().st_mode & 0o777 == 0o600
    assert path.stat().st_mode & 0o777 == 0o600
