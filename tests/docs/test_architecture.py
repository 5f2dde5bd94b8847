"""The folder map lists existing paths and every package."""

import re

from tests.docs.documents import ARCHITECTURE
from tests.running_system import ROOT

MAP = ARCHITECTURE.section("Folder map")


def test_every_path_on_the_map_exists() -> None:
    for path in re.findall(r"`([\w/.]+)`", MAP):
        if "/" in path and not (ROOT / path).exists():
            assert (ROOT / "stream_app" / path).exists(), path


def test_every_package_is_on_the_map() -> None:
    packages = {
        file.parent.relative_to(ROOT) for file in (ROOT / "stream_app").rglob("__init__.py")
    }
    shown = {f"{package}/" for package in packages if str(package) != "stream_app"}
    assert shown == set(re.findall(r"`(stream_app/[\w/]+/)`", MAP))


def test_every_file_named_in_the_text_exists() -> None:
    for name in ARCHITECTURE.codes:
        if re.fullmatch(r"[\w/]+\.py", name):
            assert (ROOT / name).exists() or (ROOT / "stream_app" / name).exists(), name
