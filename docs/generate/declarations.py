"""What a class declares, from its text: the fields with their types, defaults and the descriptions below them."""

import ast
import inspect
import textwrap
from typing import NamedTuple

from docs.generate.markdown import paragraphs


class Declared(NamedTuple):
    """A field as it is written; `default` is empty if it has to be given."""

    name: str
    type: str
    default: str
    description: str


def declared(kind: type) -> list[Declared]:
    """The fields of a class, in order; a field without a description is an error."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    if not isinstance(definition, ast.ClassDef):
        raise TypeError(f"{kind.__name__} is no class")
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
    """Its text, with the quotes of this project."""
    return ast.unparse(node).replace("'", '"')


def _default(value: ast.expr | None) -> str:
    """As it is written; what `field(default_factory=dict)` makes is an empty dict."""
    if value is None:
        return ""
    return {"field(default_factory=dict)": "{}"}.get(_source(value), _source(value))


def _text(kind: type, field: ast.AnnAssign, after: ast.stmt | None) -> str:
    match after:
        case ast.Expr(value=ast.Constant(value=str(text))):
            return paragraphs(text)
    raise ValueError(f"{kind.__name__}.{ast.unparse(field.target)} has no description below it")
