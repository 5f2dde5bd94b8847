"""Fingerprint of a pipeline: a hash of everything it computes, equal on every machine."""

import ast
import functools
import hashlib
import inspect
import json
import re
import sys
import textwrap
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from importlib.metadata import version
from importlib.util import decode_source, resolve_name
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from stream_app.core.reading.label_values import binary_values
from stream_app.errors import PipelineError
from stream_app.pipeline import Pipeline, parsed
from stream_app.sources import Source

_INSTALLED = {"site-packages", "dist-packages"}

Code = type[Any] | FunctionType


class Sources:
    """Source texts of the code in a folder and below; other code is a library, known by its name.

    The text of a function is followed by the statements of its module that bind the names it uses,
    directly or indirectly, and by the whole text of the modules in the folder that these import.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def has(self, code: Code) -> bool:
        """Return True if the code belongs to the user."""
        module = sys.modules.get(code.__module__)
        return module is not None and self._is_users(module)

    def text(self, code: Code) -> str:
        """Return the text of the code, in a stable order."""
        own = source_of(code)
        return (
            "\n".join([own, *self._used(sys.modules[code.__module__], _names(code))])
            if self.has(code)
            else own
        )

    def _used(self, module: ModuleType, names: set[str]) -> list[str]:
        """Return the statements of a module that bind the names, directly or indirectly."""
        source = _module_text(module)
        binding: dict[str, list[ast.stmt]] = defaultdict(list)
        for statement in ast.parse(source).body:
            for name in _bound(statement):
                binding[name].append(statement)
        used: dict[int, ast.stmt] = {}
        waiting = sorted(names)
        while waiting:
            for statement in binding.pop(waiting.pop(), []):
                used[statement.lineno] = statement
                waiting += sorted(_loaded(statement))
        modules = [
            text
            for _, statement in sorted(used.items())
            for text in self._imported(module, statement, set())
        ]
        return [ast.get_source_segment(source, used[line]) or "" for line in sorted(used)] + modules

    def _imported(self, module: ModuleType, tree: ast.AST, seen: set[str]) -> Iterator[str]:
        """Yield the text of each user module that a tree imports, directly or indirectly."""
        for name in _imports(tree, module.__package__ or ""):
            other = sys.modules.get(name)
            if other is None or other is module or name in seen or not self._is_users(other):
                continue
            seen.add(name)
            source = _module_text(other)
            yield source
            yield from self._imported(other, ast.parse(source), seen)

    def _is_users(self, module: ModuleType) -> bool:
        path = Path(getattr(module, "__file__", None) or "").resolve()
        if path.suffix != ".py" or not path.is_relative_to(self._folder):
            return False
        return not _INSTALLED & set(path.relative_to(self._folder).parts)


def source_of(code: Code) -> str:
    """Return the text of a function or class itself.

    Raises:
        PipelineError: there is no file to read it from.
    """
    try:
        return textwrap.dedent(inspect.getsource(code)).strip()
    except (OSError, TypeError):
        raise PipelineError(
            f"the source of {code.__qualname__} cannot be read", "Declare it in a Python file"
        ) from None


def _module_text(module: ModuleType) -> str:
    return decode_source(Path(module.__file__ or "").read_bytes())


def _names(code: Code) -> set[str]:
    """Return the global names that the code may use, and the one that it is declared under."""
    root = code.__qualname__.partition(".")[0]
    used = (
        _loaded(ast.parse(source_of(code)))
        if isinstance(code, type)
        else set(_code_names(code.__code__))
    )
    return {root} | used


def _code_names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _code_names(constant)


def _loaded(tree: ast.AST) -> set[str]:
    return {
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }


def _bound(statement: ast.stmt) -> set[str]:
    names = set[str]()
    for node in ast.walk(statement):
        match node:
            case (
                ast.FunctionDef(name=name)
                | ast.AsyncFunctionDef(name=name)
                | ast.ClassDef(name=name)
            ):
                names.add(name)
            case ast.Name(id=name, ctx=ast.Store()):
                names.add(name)
            case ast.alias(name=name, asname=asname):
                names.add(asname or name.partition(".")[0])
    return names


def _imports(tree: ast.AST, package: str) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                base = (
                    resolve_name("." * level + (module or ""), package) if level else module or ""
                )
                yield base
                yield from (f"{base}.{alias.name}" for alias in names)


def fingerprint(pipeline: Pipeline) -> str:
    """Return the fingerprint of a loaded pipeline, 16 hexadecimal digits.

    It covers all that scores and examples depend on: the schemas (with defaults and logical types,
    without documentation), the roles of fields, the cleaning steps and features (their text, and
    the text in the pipeline's folder that they refer to), the model with its parameters and
    River's version, the label, the decision threshold, and how fields are taken from sources. It
    does not cover the name, topics of sources, their filters and starts, passed fields, metrics,
    alarms and windows.
    """
    describe = _Description(_folder(pipeline)).of
    label = pipeline.label
    content = {
        "schema": _canonical(parsed(pipeline.schema)),
        "roles": [pipeline.event_id, pipeline.key or pipeline.event_id, pipeline.event_time],
        "clean": [describe(step) for step in pipeline.clean],
        "features": describe(pipeline.features),
        "model": describe(pipeline.model()),
        "river": version("river"),
        "label_schema": _canonical(parsed(label.schema)),
        "label": [
            label.field,
            label.time,
            str(label.horizon),
            *([] if label.absent is None else [repr(label.absent)]),
            *sorted(map(repr, (binary_values(label) or {}).items())),
        ],
        "decision": float(pipeline.thresholds.decision),
    }
    content |= {
        name: found
        for name, sources in (("sources", pipeline.sources), ("label_sources", label.sources))
        if (found := sorted({json.dumps(_selection(source)) for source in sources}))
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _selection(source: Source) -> list[Any]:
    """Return what a source does to the fields of its records."""
    origins = {
        name: [type(origin).__name__, repr(origin)] for name, origin in source.fields.items()
    }
    return [source.envelope, dict(sorted(origins.items()))]


def _folder(pipeline: Pipeline) -> Path:
    """Return the folder of the user's code: that of the feature function."""
    code: Any = pipeline.features
    while isinstance(code, functools.partial):
        code = code.func
    code = inspect.unwrap(code)
    # The module of an object is that of its class.
    module = sys.modules[code.__module__]
    return Path(module.__file__ or "").resolve().parent


def _canonical(schema: Any) -> Any:
    """Return a schema without the attributes that do not affect records."""
    if isinstance(schema, list):
        return [_canonical(branch) for branch in schema]
    if not isinstance(schema, Mapping):
        return schema
    return {
        name: value if name == "default" else _canonical(value)
        for name, value in schema.items()
        if name not in ("doc", "aliases", "order")
    }


class _Description:
    """Describes values as JSON without addresses, and independently of the order of sets."""

    def __init__(self, folder: Path) -> None:
        self._sources = Sources(folder)
        self._described: set[int] = set()

    def of(self, value: Any) -> Any:
        match inspect.unwrap(value) if callable(value) else value:
            case FunctionType() as function:
                return self._function(function)
            case MethodType():
                return [value.__func__.__qualname__, self.of(value.__self__)]
            case functools.partial():
                return [
                    "partial",
                    self.of(value.func),
                    self.of(value.args),
                    self.of(value.keywords),
                ]
            case type():
                return self._class(value)
            case list() | tuple():
                return [type(value).__name__, *map(self.of, value)]
            case set() | frozenset():
                return sorted((self.of(item) for item in value), key=json.dumps)
            case Mapping():
                return [[self.of(key), self.of(item)] for key, item in value.items()]
        return self._instance(value)

    def _function(self, value: FunctionType) -> Any:
        # A function may close over itself.
        if id(value) in self._described:
            return value.__qualname__
        self._described.add(id(value))
        return [
            self._sources.text(value),
            *(self.of(cell.cell_contents) for cell in value.__closure__ or ()),
        ]

    def _class(self, value: Code) -> str:
        name = f"{value.__module__}.{value.__qualname__}"
        return f"{name}\n{self._sources.text(value)}" if self._sources.has(value) else name

    def _instance(self, value: Any) -> Any:
        if is_dataclass(value):
            return [
                self._class(type(value)),
                {field.name: self.of(getattr(value, field.name)) for field in fields(value)},
            ]
        # River's pipelines and unions: their parameters do not contain the classes of the parts.
        for parts in ("steps", "transformers"):
            if hasattr(value, "_get_params") and hasattr(value, parts):
                return [self._class(type(value)), self.of(getattr(value, parts))]
        if hasattr(value, "_get_params"):
            return [self._class(type(value)), self.of(value._get_params())]
        if self._sources.has(type(value)):
            return [self._class(type(value)), self.of(getattr(value, "__dict__", {}))]
        return re.sub(" at 0x[0-9a-fA-F]+", "", repr(value))
