"""The examples in docstrings run with the documented results."""

import ast
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
    """The docstrings are those of the source, because compiled functions have none."""
    source = (ROOT / f"{name.replace('.', '/')}.py").read_text(encoding="utf-8")
    names = vars(importlib.import_module(name))
    runner = doctest.DocTestRunner(optionflags=doctest.IGNORE_EXCEPTION_DETAIL)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            text = ast.get_docstring(node) or ""
            line = getattr(node, "lineno", 0)
            runner.run(doctest.DocTestParser().get_doctest(text, dict(names), name, name, line))
    assert runner.tries > 0
    assert runner.failures == 0
