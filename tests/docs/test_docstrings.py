"""The examples in docstrings run with the documented results."""

import doctest
import importlib
import re

import pytest

from tests.running_system import ROOT

MODULES = [
    ".".join(file.relative_to(ROOT).with_suffix("").parts)
    for folder in ("stream_app", "docs", "tests/docs")
    for file in sorted((ROOT / folder).rglob("*.py"))
    if re.search(r"^ +>>> ", file.read_text(encoding="utf-8"), re.MULTILINE)
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_the_documented_results(name: str) -> None:
    result = doctest.testmod(
        importlib.import_module(name), optionflags=doctest.IGNORE_EXCEPTION_DETAIL
    )
    assert result.attempted > 0
    assert result.failed == 0
