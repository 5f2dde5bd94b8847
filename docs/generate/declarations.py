"""Fields of a class from its source: types, defaults and the descriptions below them."""

import ast
import inspect
import textwrap
from typing import NamedTuple

from docs.generate.markdown import paragraphs


class Declared(NamedTuple):
    """Field as in the source; `default` is empty for a required field."""

    name: str
    type: str
    default: str
    description: str


def declared(kind: type) -> list[Declared]:
    """Returns the fields of a class in order.

    Raises:
        ValueError: a field has no description.
    """
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    if not isinstance(definition, ast.ClassDef):
        raise TypeError(f"{kind.__name__} is not a class")
    body = definition.body
    return [
        Declared(
            field.target.id,
            _source(field.annotation),
            _default(field.value),
            _text(kind, field, after),
        )
        for field, after in zip(body, [*body[1:], None], strict=True)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
    ]


def _source(node: ast.expr) -> str:
    """Returns the source of an expression with double quotes."""
    return ast.unparse(node).replace("'", '"')


def _default(value: ast.expr | None) -> str:
    """Returns a default as in the source, and `{}` for `field(default_factory=dict)`."""
    if value is None:
        return ""
    return {"field(default_factory=dict)": "{}"}.get(_source(value), _source(value))


def _text(kind: type, field: ast.AnnAssign, after: ast.stmt | None) -> str:
    match after:
        case ast.Expr(value=ast.Constant(value=str(text))):
            return paragraphs(text)
    raise ValueError(f"{kind.__name__}.{ast.unparse(field.target)} has no description below it")
