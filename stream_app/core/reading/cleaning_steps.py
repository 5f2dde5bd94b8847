"""Cleans a record: applies the steps of the pipeline, one by one or in generated functions.

The fast path is one generated function for consecutive steps of the package, which tests common
values without a call. It changes the record only when all of its steps have succeeded. If one of
them rejects the record or raises, `clean` runs them again, one by one, and decides. They are pure
functions, so it comes to the same result. A user's own steps are called by `clean`, once.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from stream_app.cleaning import (
    Between,
    Clip,
    Impute,
    Normalise,
    NullIf,
    Rejected,
    Rename,
    step_name,
)
from stream_app.pipeline import CleaningStep
from stream_app.records import Failure, Fields, fast_namedtuple
from stream_app.resilience import TRANSIENT


class CleanedRecord(NamedTuple):
    """Fields of a record after cleaning; `imputed` names those whose value was made up."""

    fields: Fields
    imputed: tuple[str, ...] = ()


def clean(fields: Fields, steps: Sequence[CleaningStep]) -> CleanedRecord | Failure:
    """Apply the cleaning steps in order; `fields` is not modified.

    Failures: `rejected` if a step raised `Rejected`, with its reason; `cleaning-unavailable` if an
    external system failed; `cleaning-failed` if a step raised anything else or did not return a
    mapping.

    >>> clean({"distance": 10}, [lambda fields: {"km": fields["distance"] * 1.609}]).fields
    {'distance': 10, 'km': 16.09}
    """
    cleaned, imputed = fields.copy(), dict[str, None]()
    for step in steps:
        try:
            changes = step(cleaned)
            cleaned.update(changes)
        except Rejected as rejection:
            return Failure("rejected", rejection.reason)
        except TRANSIENT as error:
            return Failure(
                "cleaning-unavailable", f"{type(error).__name__} in {step_name(step)}", error
            )
        except Exception as error:
            return Failure("cleaning-failed", f"{type(error).__name__} in {step_name(step)}", error)
        if changes and getattr(step, "imputes", False):
            imputed |= dict.fromkeys(changes)
    return CleanedRecord(cleaned, tuple(imputed))


Cleaning = Callable[[Fields], CleanedRecord | Failure]
"""Cleans a record, which it may modify: the caller gives it up."""

_Run = Callable[[Fields], Sequence[str]]
"""Applies steps to a record in place; returns the names of imputed fields, perhaps repeatedly."""

_cleaned_record = fast_namedtuple(CleanedRecord)

_BUNDLED = (Impute, Clip, Between, Normalise, Rename, NullIf)


def compile_cleaning(steps: Iterable[CleaningStep]) -> Cleaning:
    """Compile cleaning steps into a function with the results of `clean`.

    >>> compile_cleaning([Impute("visibility", 10.0)])({"visibility": None})
    CleanedRecord(fields={'visibility': 10.0}, imputed=('visibility',))
    """
    runs = [(list(group), bundled) for bundled, group in groupby(steps, _is_bundled)]
    if len(runs) == 1 and runs[0][1]:
        return _single(_generate(runs[0][0]), runs[0][0])
    parts = [(_generate(group) if bundled else None, group) for group, bundled in runs]

    def clean_in_parts(fields: Fields) -> CleanedRecord | Failure:
        imputed = dict[str, None]()
        for run, group in parts:
            try:
                names = None if run is None else run(fields)
            except Exception:
                names = None
            if names is None:
                cleaned = clean(fields, group)
                if isinstance(cleaned, Failure):
                    return cleaned
                fields, names = cleaned
            imputed |= dict.fromkeys(names)
        return CleanedRecord(fields, tuple(imputed))

    return clean_in_parts


def _single(run: _Run, steps: Sequence[CleaningStep]) -> Cleaning:
    """Return the cleaning of a pipeline with steps of the package only."""

    def clean_at_once(fields: Fields) -> CleanedRecord | Failure:
        try:
            names = run(fields)
        except Exception:
            return clean(fields, steps)
        return _cleaned_record((fields, tuple(dict.fromkeys(names)) if names else ()))

    return clean_at_once


def _is_bundled(step: CleaningStep) -> bool:
    # Exact types, because a subclass may do anything.
    return type(step) in _BUNDLED and all(type(name) is str for name in _names(step))


def _names(step: Any) -> tuple[str, ...]:
    """Return the names of the fields that a step of the package reads and writes."""
    return (step.old, step.new) if isinstance(step, Rename) else (step.field,)


def _generate(steps: Sequence[Any]) -> _Run:
    """Generate the function that applies steps of the package.

    Fields are variables from the first step that reads them. All of those that a step writes are
    stored at the end, in the order of the steps, because that is the order of renamed fields.
    """
    variables: dict[str, str] = {}
    written: dict[str, None] = {}
    constants: dict[str, Any] = {}
    lines = []
    for number, step in enumerate(steps):
        read, target = _names(step)[0], _names(step)[-1]
        if read not in variables:
            variables[read] = f"field{len(variables)}"
            lines.append(f"{variables[read]} = fields[{read!r}]")
        variables.setdefault(target, f"field{len(variables)}")
        written[target] = None
        lines += _source(step, variables[read], variables[target], f"_{number}")
        constants |= {f"{name}_{number}": getattr(step, name, None) for name in _CONSTANTS}
    lines += [f"fields[{name!r}] = {variables[name]}" for name in written]
    source = ["def run(fields):", "imputed = []", *lines, "return imputed"]
    exec("\n    ".join(source), constants)
    run: _Run = constants["run"]
    return run


_CONSTANTS = ("value", "values", "low", "high")


def _source(step: Any, value: str, target: str, number: str) -> list[str]:
    """Return the lines of a step, given the variables of its fields and the constants' suffix."""
    outside = f"if {value} is not None and not low{number} <= {value} <= high{number}:"
    imputes = f"imputed.append({_names(step)[-1]!r})"
    match step:
        case Impute():
            return [f"if {value} is None:", f"    {value} = value{number}", f"    {imputes}"]
        case Clip():
            nearer = f"low{number} if {value} < low{number} else high{number}"
            return [outside, f"    {value} = {nearer}", f"    {imputes}"]
        case Between(otherwise="reject"):
            return [outside, "    raise ValueError"]
        case Between():
            return [outside, f"    {value} = value{number}", f"    {imputes}"]
        case Normalise():
            case = {"keep": "", "upper": ".upper()"}.get(step.case, ".lower()")
            return [f"if {value} is not None:", f"    {value} = {value}.strip(){case}"]
        case Rename():
            return [f"{target} = {value}"]
    return [f"if {value} in values{number}:", f"    {value} = None"]
