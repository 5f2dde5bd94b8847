"""What a manifest says about a model's construction: its parameters and seed."""

from collections.abc import Iterator, Mapping
from typing import Any


def parameters(model: Any) -> dict[str, str]:
    """River's parameters as Python writes them, those of parts after a dot; a part's own value is its class's name.

    >>> from river import linear_model, optim
    >>> found = parameters(linear_model.LogisticRegression(optim.SGD(0.1), l2=0.5))
    >>> found["l2"], found["optimizer"], found["optimizer.lr.learning_rate"]
    ('0.5', 'SGD', '0.1')
    """
    return dict(_leaves("", model._get_params()))


def seed(model: Any) -> int | None:
    """The first seed among the parameters; None without one."""
    seeds = (
        value for name, value in parameters(model).items() if name.rpartition(".")[2] == "seed"
    )
    return next((int(value) for value in seeds if value.lstrip("-").isdecimal()), None)


def _leaves(name: str, value: Any) -> Iterator[tuple[str, str]]:
    match value:
        case (type() as kind, Mapping() as inner):  # how River writes the parameters of a part
            yield name, kind.__name__
            yield from _leaves(name, inner)
        case Mapping() if value:
            for key, item in value.items():
                yield from _leaves(f"{name}.{key}" if name else str(key), item)
        case _:
            yield name, repr(value)
