"""The image contains the locked dependencies and the whole package, and does not run as root."""

import re
import shutil
import sys
from fnmatch import fnmatch
from pathlib import Path

from tests.deploy.compose import DEPLOY, ROOT
from tests.deploy.prometheus import run

DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
LINES = DOCKERFILE.replace("\\\n", " ").splitlines()


def instructions(name: str) -> list[str]:
    return [line.removeprefix(name).strip() for line in LINES if line.startswith(f"{name} ")]


def test_the_base_is_pinned_and_supported() -> None:
    bases = {base.removesuffix(" AS build") for base in instructions("FROM")}
    assert len(bases) == 1
    found = re.fullmatch(r"python:3\.(\d+)\.\d+-slim-bookworm@sha256:[0-9a-f]{64}", bases.pop())
    assert found is not None
    assert 11 <= int(found[1]) <= 13


def test_the_image_installs_only_locked_dependencies() -> None:
    """The commands are those of the Makefile."""
    makefile = (ROOT / "Makefile").read_text()
    installs = [
        call.strip()
        for line in instructions("RUN")
        for call in line.split("&&")
        if "pip install" in call
    ]
    assert len(installs) == 3
    for install in installs[:2]:
        assert "--require-hashes" in install
        assert install.removeprefix("pip").strip().removeprefix("install").strip() in makefile
    assert installs[2] == "pip install --no-deps --no-build-isolation ."


def copied() -> list[str]:
    return [
        source
        for copy in instructions("COPY")
        if not copy.startswith("--from")
        for source in copy.split()[:-1]
    ]


def test_the_copied_files_are_not_ignored() -> None:
    rules = [
        line
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if not line.startswith("#")
    ]
    for source in copied():
        last = [rule for rule in rules if fnmatch(source, rule.removeprefix("!"))][-1]
        assert last.startswith("!"), f"{source} is ignored by {last}"


def test_the_copied_files_build_the_whole_package(tmp_path: Path) -> None:
    build = tmp_path / "build"
    build.mkdir()
    for source in copied():
        if (ROOT / source).is_dir():
            shutil.copytree(
                ROOT / source,
                build / source,
                symlinks=True,
                ignore=shutil.ignore_patterns("__pycache__"),
            )
        else:
            shutil.copy(ROOT / source, build)
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
    ]
    run(
        [
            *install,
            "--disable-pip-version-check",
            "--no-compile",
            "--target",
            str(tmp_path / "installed"),
            ".",
        ],
        folder=build,
    )
    missing = files(ROOT / "stream_app") - files(tmp_path / "installed" / "stream_app")
    assert {
        name for name in missing if not name.startswith(("schemas/README", "schemas/released/"))
    } == set()


def files(package: Path) -> set[str]:
    """Returns the files of a package, also below links."""
    found: set[str] = set()
    for file in package.iterdir():
        if file.is_dir() and file.name != "__pycache__":
            found |= {f"{file.name}/{inner}" for inner in files(file)}
        elif file.is_file():
            found.add(file.name)
    return found


def test_the_image_does_not_run_as_root() -> None:
    user = instructions("USER")[-1]
    assert user.isdigit()
    assert int(user) > 0
    assert f"--uid {user}" in DOCKERFILE
