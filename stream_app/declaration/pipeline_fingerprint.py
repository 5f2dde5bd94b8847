"""Fingerprint of a pipeline: a hash of everything it computes, equal on every machine."""

import functools
import hashlib
import inspect
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from importlib.metadata import version
from pathlib import Path
from types import FunctionType, MethodType
from typing import Any

from stream_app.declaration.function_sources import Code, Sources
from stream_app.pipeline import Pipeline, parsed


def fingerprint(pipeline: Pipeline) -> str:
    """Return the fingerprint of a loaded pipeline, 16 hexadecimal digits.

    It covers all that scores and examples depend on: the schemas (with defaults and logical types,
    without documentation), the roles of fields, the cleaning steps and features (their text, and
    the text in the pipeline's folder that they refer to), the model with its parameters and
    River's version, the label and the decision threshold. It does not cover the name, passed
    fields, metrics, alarms and windows.
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
        "label": [label.field, label.time, str(label.horizon), str(label.allowed_lateness)],
        "decision": float(pipeline.thresholds.decision),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


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
