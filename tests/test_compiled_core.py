"""The compiled core runs if it is that of the sources, and writes what the interpreted one does."""

import ast
import json
import os
import shutil
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

from stream_app import compiled_core
from stream_app.compiled_core import BUILDS, COMPILED, FORCED, IMPORTED, MODULES, PACKAGE, VARIABLE
from stream_app.settings import Settings

ROOT = PACKAGE.parent
CORE_FILE = "stream_app/core/scoring/lateness.py"
SHOW = (
    "import stream_app.core.scoring.lateness as found; "
    "from stream_app.compiled_core import core_state; print(core_state()); print(found.__file__)"
)

built = pytest.mark.skipif(
    not list(BUILDS.glob(f"*/stream_app_core*{EXTENSION_SUFFIXES[0]}")),
    reason="the core is not compiled: there was no C compiler",
)


def environment(**variables: str) -> dict[str, str]:
    """Returns this process's environment without the setting of the core."""
    return {name: text for name, text in os.environ.items() if name != VARIABLE} | variables


def run_python(*arguments: str, folder: Path = ROOT, **variables: str) -> tuple[list[str], str]:
    """Returns the lines of standard output of a new process, and its standard error."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", *arguments],
        cwd=folder,
        env=environment(PYTHONPATH=str(folder), **variables),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines(), done.stderr


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Copy of the package with its build."""
    shutil.copytree(PACKAGE, tmp_path / "stream_app", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


@built
def test_the_compiled_core_is_the_default(checkout: Path) -> None:
    (state, file), errors = run_python("-c", SHOW, folder=checkout)
    assert (state, errors) == (COMPILED, "")
    assert file.endswith(EXTENSION_SUFFIXES[0])


@built
def test_an_edited_source_runs_interpreted_with_one_warning(checkout: Path) -> None:
    source = checkout / CORE_FILE
    source.write_text(source.read_text() + "\n# edited\n")
    (state, file), errors = run_python(
        "-c", f"{SHOW}; import stream_app.core.scoring.scorer", folder=checkout
    )
    assert state == compiled_core.OUTDATED
    assert file == str(source)
    assert errors == f"The core is {state}; run `make compile`\n"


@built
def test_the_setting_forces_the_interpreted_core(checkout: Path) -> None:
    (state, file), errors = run_python("-c", SHOW, folder=checkout, STREAM_APP_CORE="interpreted")
    assert (state, file, errors) == (FORCED, str(checkout / CORE_FILE), "")


def test_a_package_without_a_build_runs_interpreted_silently(checkout: Path) -> None:
    shutil.rmtree(checkout / "stream_app" / BUILDS.name, ignore_errors=True)
    (state, file), errors = run_python("-c", SHOW, folder=checkout)
    assert (state, file, errors) == (compiled_core.NOT_BUILT, str(checkout / CORE_FILE), "")


def test_the_setting_is_known() -> None:
    prefix = str(Settings.model_config["env_prefix"])
    assert f"{prefix}{'core'.upper()}" == VARIABLE
    assert Settings(core="interpreted").core == compiled_core.INTERPRETED


def test_without_a_compiler_nothing_is_built_and_one_line_says_so(tmp_path: Path) -> None:
    for name in ("setup.py", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(
        PACKAGE,
        tmp_path / "stream_app",
        ignore=shutil.ignore_patterns("__pycache__", BUILDS.name),
    )
    output, errors = run_python(
        "setup.py", "--quiet", "build_ext", "--inplace", folder=tmp_path, CC="no-such-compiler"
    )
    assert output == []
    assert errors.splitlines() == [
        "The core is not compiled: there is no C compiler (no-such-compiler). "
        "The same sources run interpreted, with more CPU."
    ]
    assert not (tmp_path / "stream_app" / BUILDS.name).exists()


def test_the_hash_covers_everything_that_the_compiled_modules_import() -> None:
    """Otherwise the compiled code would stay in use after an edit of a module that it imports."""
    covered = {f"stream_app.{name}" for name in (*IMPORTED, "model_store.linear_folding")}
    for name in MODULES:
        file = PACKAGE / f"{name.replace('.', '/')}.py"
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("stream_app"):
                module = str(node.module)
                assert module in covered or module.startswith("stream_app.core."), (name, module)


def test_compiled_code_does_not_recurse_over_input() -> None:
    """Python's recursion limit, on which the readers of records rely, does not hold there."""
    readers = {"avro_reader", "avro_schema", "validator", "validator_checks"}
    assert readers.isdisjoint(name.rpartition(".")[2] for name in MODULES)


@built
def test_both_cores_write_the_same_bytes() -> None:
    if compiled_core.core_state() == compiled_core.OUTDATED:
        pytest.skip("the sources have changed since the core was compiled")
    # A pickle has the names of the features in the order of their hashes.
    run = ("-m", "tests.core.mixed_stream")
    (compiled,), _ = run_python(*run, PYTHONHASHSEED="0")
    (interpreted,), _ = run_python(*run, PYTHONHASHSEED="0", STREAM_APP_CORE="interpreted")
    found, expected = json.loads(compiled), json.loads(interpreted)
    assert (found.pop("core"), expected.pop("core")) == (COMPILED, FORCED)
    assert found == expected
    assert min(expected["outcomes"].values()) > 1000
    assert expected["restored"]


@built
def test_both_cores_raise_the_same_alarms_and_keep_the_same_state() -> None:
    if compiled_core.core_state() == compiled_core.OUTDATED:
        pytest.skip("the sources have changed since the core was compiled")
    run = ("-m", "tests.core.alarms.alarm_digest")
    (compiled,), _ = run_python(*run)
    (interpreted,), _ = run_python(*run, STREAM_APP_CORE="interpreted")
    found, expected = json.loads(compiled), json.loads(interpreted)
    assert (found.pop("core"), expected.pop("core")) == (COMPILED, FORCED)
    assert found == expected
    assert expected["alarms"] >= 3
