"""`make setup` shows how far the installation is."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from tests.running_system import ROOT


def install(folder: Path, *requirements: str) -> subprocess.CompletedProcess[str]:
    """Install packages, of which those that are here already are found without an index."""
    path = folder / "requirements.lock"
    path.write_text("".join(f"{requirement}\n" for requirement in requirements))
    command = [sys.executable, str(ROOT / "deploy" / "pip_progress.py")]
    return subprocess.run(
        [*command, "--no-index", "--no-deps", "-r", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_packages_are_counted_on_standard_error(tmp_path: Path) -> None:
    done = install(
        tmp_path, f"pytest=={version('pytest')}", 'absent==1.0 ; sys_platform == "win32"'
    )
    assert (done.returncode, done.stdout) == (0, "")
    first = done.stderr.splitlines()[0]
    assert first in ("1 of 2 packages: absent", "1 of 2 packages: pytest")


def test_an_error_of_pip_is_shown_with_its_exit_code(tmp_path: Path) -> None:
    done = install(tmp_path, "absent==1.0")
    assert done.returncode == 1
    assert "No matching distribution found for absent==1.0" in done.stderr
