"""The examples of docs/testing.md run unchanged."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from stream_app.starter.starter import write_starter
from tests.running_system import ROOT


@pytest.mark.broker
def test_the_examples_of_the_documentation_pass(tmp_path: Path) -> None:
    blocks = re.findall(
        r"```python\n(.*?)```", (ROOT / "docs" / "testing.md").read_text(), re.DOTALL
    )
    assert len(blocks) == 3
    write_starter("payments", tmp_path)
    (tmp_path / "test_shown.py").write_text("\n\n".join(blocks))
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            str(tmp_path / "test_shown.py"),
        ],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout
    assert "6 passed" in done.stdout
