"""Class and file names are unique, parameter lists short, and the core's imports limited."""

import ast
from collections import defaultdict
from collections.abc import Iterator

from tests.structure.sources import Source, sources

# Any package may have these; the commands in cli/ share names with what they run.
SHARED_FILE_NAMES = {"__init__.py", "__main__.py"}
MAX_PARAMETERS = 7
CORE_IMPORTS = (
    "abc base64 bisect collections contextlib copy dataclasses datetime decimal enum fastavro "
    "functools hashlib heapq io itertools json math msgspec numpy operator orjson re river scipy "
    "struct sysconfig traceback types typing unicodedata uuid zoneinfo"
)
CORE_PROJECT_IMPORTS = (
    "cleaning core error_codes errors formatting headers pipeline records resilience sources "
    "topic_kinds"
)


def test_every_class_name_is_unique() -> None:
    places = defaultdict(list)
    for source in sources("stream_app"):
        for node in ast.walk(source.tree):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(str(source))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_every_file_name_is_unique() -> None:
    places = defaultdict(list)
    for source in sources("stream_app"):
        if source.path.name not in SHARED_FILE_NAMES and source.path.parts[1] != "cli":
            places[source.path.name].append(str(source))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def functions(source: Source) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_no_function_takes_more_than_seven_parameters() -> None:
    found = []
    for source in sources("stream_app"):
        for node in functions(source):
            names = [
                a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
            ]
            if len([name for name in names if name not in ("self", "cls")]) > MAX_PARAMETERS:
                found.append(f"{source}:{node.lineno} {node.name} takes {len(names)}")
    assert not found, "\n".join(found)


def imports(source: Source) -> Iterator[tuple[int, list[str]]]:
    """Yields the line and the modules of every import statement."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            yield node.lineno, [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, [node.module or ""]


def test_the_core_imports_only_what_is_allowed() -> None:
    libraries, project = CORE_IMPORTS.split(), CORE_PROJECT_IMPORTS.split()
    found = []
    for source in sources("stream_app/core"):
        for line, modules in imports(source):
            for module in modules:
                root, _, rest = module.partition(".")
                first = rest.partition(".")[0]
                allowed = first in project if root == "stream_app" else root in libraries
                if not allowed:
                    found.append(f"{source}:{line} imports {module}")
    assert not found, "\n".join(found)


def test_every_package_has_a_docstring() -> None:
    packages = [source for source in sources("stream_app") if source.path.name == "__init__.py"]
    assert [str(source) for source in packages if not ast.get_docstring(source.tree)] == []
