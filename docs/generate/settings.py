"""`settings.md`: every environment variable."""

import ast
import inspect
import types
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from docs.generate.markdown import code, codes, paragraphs, table
from stream_app.settings import Settings

_NAMES: dict[Any, str] = {
    str: "text",
    int: "integer",
    float: "number",
    bool: "`true` or `false`",
    Path: "path",
    SecretStr: "secret",
}
_BOUNDS = {Ge: "at least", Gt: "more than", Le: "at most", Lt: "less than"}

_INTRODUCTION = """# Settings

All settings are optional environment variables. An invalid value or an unknown variable ends a
command with exit code 3 and a line that names it; those that Kubernetes sets for a Service named
stream-app are ignored with a warning. Each *secret* also has a variable that ends in
`_FILE`: the path of a file with the secret, which keeps it out of the environment.
"""


class Variable(NamedTuple):
    """Setting with the name of its environment variable, and its description."""

    name: str
    field: FieldInfo
    description: str


def page() -> str:
    """Returns the page: general settings first, then one table for each section."""
    described = descriptions(Settings)
    general = [
        Variable(_variable(name), field, described[name])
        for name, field in Settings.model_fields.items()
        if not _section(field)
    ]
    parts = [_INTRODUCTION, "## General\n", _table(general)]
    for name, field in Settings.model_fields.items():
        section = _section(field)
        if section is not None:
            parts += [
                f"## {name.capitalize()}\n",
                paragraphs(section.__doc__) + "\n",
                _table(_variables(name, section)),
            ]
    return "\n".join(parts)


def variables() -> list[str]:
    """Returns the names of all variables."""
    found = []
    for name, field in Settings.model_fields.items():
        section = _section(field)
        found += [v.name for v in _variables(name, section)] if section else [_variable(name)]
    return found


def _section(field: FieldInfo) -> type[BaseModel] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _variables(name: str, section: type[BaseModel]) -> Iterator[Variable]:
    described = descriptions(section)
    for inner, field in section.model_fields.items():
        yield Variable(_variable(name, inner), field, described[inner])


def descriptions(section: type[BaseModel]) -> Mapping[str, str]:
    """Returns the docstrings of the fields by name.

    They are read here and not by pydantic, because that takes time whenever a process starts.
    """
    (declared,) = ast.parse(inspect.getsource(section)).body
    assert isinstance(declared, ast.ClassDef)
    found = {}
    for field, text in pairwise(declared.body):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
            found[ast.unparse(field.target)] = inspect.cleandoc(ast.literal_eval(text.value))
    return found


def _variable(*path: str) -> str:
    return "STREAM_APP_" + "__".join(path).upper()


def _table(found: Iterator[Variable] | list[Variable]) -> str:
    rows = [
        [code(name), _type(field), _default(field), description]
        for name, field, description in found
    ]
    return table(["variable", "value", "default", "meaning"], rows)


def _type(field: FieldInfo) -> str:
    """Returns the type and bounds of a value.

    >>> _type(Settings.model_fields["store_url"])
    'text'
    """
    kind = _without_none(field.annotation)
    if get_origin(kind) is Literal:
        return codes(get_args(kind))
    bounds = [
        f"{_BOUNDS[type(limit)]} {_limit(limit)}"
        for limit in field.metadata
        if type(limit) in _BOUNDS
    ]
    patterns = [
        f"like {code(limit.pattern)}" for limit in field.metadata if getattr(limit, "pattern", None)
    ]
    return " ".join(
        [_NAMES.get(kind, code(getattr(kind, "__name__", kind))), ", ".join(bounds + patterns)]
    ).strip()


def _without_none(kind: Any) -> Any:
    if get_origin(kind) not in (Union, types.UnionType):
        return kind
    (inner,) = (member for member in get_args(kind) if member is not type(None))
    return inner


def _limit(limit: Any) -> str:
    (value,) = (getattr(limit, name) for name in ("ge", "gt", "le", "lt") if hasattr(limit, name))
    return f"{value:,}"


def _default(field: FieldInfo) -> str:
    """Returns the default; one computed at the start is a folder of the user."""
    if field.default_factory is not None:
        return "per user"
    if field.default is PydanticUndefined:
        return "*required*"
    if field.default is None or field.default == "":
        return "unset"
    return code(str(field.default).lower() if isinstance(field.default, bool) else field.default)
