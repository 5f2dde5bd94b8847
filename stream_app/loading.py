"""Loads a pipeline from a file or module, completes its declaration and validates it."""

import importlib.util
import json
import re
import sys
import traceback
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from stream_app.core.evaluation.prediction_tasks import task_of
from stream_app.declaration.validation import (
    check_model,
    explain_misnamed_field,
    require_parts,
    validate_pipeline,
)
from stream_app.errors import ModelError, PipelineError
from stream_app.model_store.pickling import UnsoundModelError, pipeline_names
from stream_app.pipeline import Pipeline, Schema


def load_pipeline(spec: str, *, with_model: bool = True) -> Pipeline:
    """Load and validate a pipeline.

    Args:
        spec: `file.py`, `file.py:attribute`, `package.module`, `package.module:attribute`, or the
            name of an example. The default attribute is `pipeline`, or the only Pipeline.
        with_model: False leaves the model unchecked, for commands that do not use it: building
            one imports much of River.

    Returns:
        The pipeline with its schemas read, and defaults for its key and metrics filled in.

    Raises:
        PipelineError: the pipeline is missing or invalid.
    """
    target, attribute = _split(spec)
    module = load_file(Path(target)) if target.endswith(".py") else _load_module(target)
    folder = Path(module.__file__ or "").parent
    return complete(_find(module, attribute, spec), folder, with_model=with_model)


def complete(pipeline: Pipeline, folder: Path = Path(), *, with_model: bool = True) -> Pipeline:
    """Return a validated pipeline with schemas read and defaults filled in.

    Args:
        folder: folder to which paths of schemas are relative.
        with_model: False leaves the model unchecked.

    Raises:
        PipelineError: a schema cannot be read, or the declaration is invalid.
    """
    require_parts(pipeline)
    label = replace(pipeline.label, schema=_read("label.schema", pipeline.label.schema, folder))
    schema = _read("schema", pipeline.schema, folder)
    completed = replace(pipeline, schema=schema, label=label, key=pipeline.key or pipeline.event_id)
    validate_pipeline(completed)
    if with_model:
        check_model(completed)
        _reject_unsound_model(completed)
    return replace(completed, metrics=pipeline.metrics or task_of(completed).default_metrics)


def _reject_unsound_model(pipeline: Pipeline) -> None:
    # A model that cannot be stored at all is rejected by the learner.
    try:
        pipeline_names(pipeline.model, pipeline.features)
    except UnsoundModelError as error:
        raise PipelineError(f"model: {error.message}", error.remedy) from None
    except ModelError:
        pass


def _split(spec: str) -> tuple[str, str]:
    target, colon, attribute = spec.rpartition(":")
    return (target, attribute) if colon and attribute.isidentifier() else (spec, "")


def load_file(path: Path) -> ModuleType:
    """Import a file as a module, and return the same module until the file changes.

    The module's name depends on the file's name only, so that objects of its classes can be
    unpickled in other processes.

    Raises:
        PipelineError: the file cannot be read or imported.
    """
    path = path.resolve()
    try:
        source = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise PipelineError(
            f"{path} cannot be read: {error.strerror}", "Give the path of a Python file"
        ) from None
    except ValueError as error:
        raise PipelineError(
            f"{path} cannot be read: {error}", "Give the path of a Python file"
        ) from None
    name = "stream_app_pipeline_" + re.sub(r"\W", "_", path.stem)
    known = sys.modules.get(name)
    if known is not None and getattr(known, "_loaded_from", None) == (str(path), source):
        return known
    module = ModuleType(name)
    module.__file__ = str(path)
    vars(module)["_loaded_from"] = (str(path), source)
    _make_importable(path.parent)
    _run(name, module, path, source)
    return module


def _run(name: str, module: ModuleType, path: Path, source: str) -> None:
    previous = sys.modules.get(name)
    sys.modules[name] = module
    try:
        with _errors_explained(str(path)):
            exec(compile(source, str(path), "exec"), vars(module))
    except PipelineError:
        del sys.modules[name]
        if previous is not None:
            sys.modules[name] = previous
        raise


def _load_module(name: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        raise PipelineError(
            f"{name} is neither a Python file nor a module",
            "Give path/to/file.py or package.module",
        )
    if "." not in name and importlib.util.find_spec(f"stream_app.examples.{name}"):
        name = f"stream_app.examples.{name}"
    _make_importable(Path.cwd())
    with _errors_explained(name):
        return importlib.import_module(name)


def _make_importable(folder: Path) -> None:
    """Append a folder to the import path; installed modules take precedence."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


@contextmanager
def _errors_explained(name: str) -> Generator[None]:
    """Turn errors of the imported code into a `PipelineError` with file and line."""
    try:
        yield
    except PipelineError:
        raise
    except SyntaxError as error:
        where = f"{error.filename}:{error.lineno}" if error.filename else name
        raise PipelineError(f"{where}: {error.msg}", "Correct the syntax") from error
    except ModuleNotFoundError as error:
        raise PipelineError(
            f"{_location(name, error)}: {error}", "Install the package, or correct the name"
        ) from error
    except (Exception, SystemExit) as error:
        explained = explain_misnamed_field(error) or (
            f"{type(error).__name__}: {error}",
            "Correct the code that runs when the file is imported",
        )
        raise PipelineError(f"{_location(name, error)}: {explained[0]}", explained[1]) from error


def _location(name: str, error: BaseException) -> str:
    """Return the file with the last line that the error passed through, or the file alone."""
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == name
    ]
    return f"{name}:{lines[-1]}" if lines else name


def _find(module: ModuleType, attribute: str, spec: str) -> Pipeline:
    # The type, not `isinstance`, which asks a deferred module for its class and so imports it.
    found = {name: value for name, value in vars(module).items() if type(value) is Pipeline}
    choice = (
        f"Choose from {', '.join(found)}"
        if found
        else "Declare pipeline = stream_app.Pipeline(...) in it"
    )
    wanted = attribute or "pipeline"
    if wanted in found:
        return found[wanted]
    if attribute:
        raise PipelineError(f"{spec} is not a Pipeline", choice)
    if len({id(value) for value in found.values()}) == 1:
        return next(iter(found.values()))
    raise PipelineError(
        f"{spec} has {len(found) or 'no'} pipelines",
        f"Write {spec}:name. {choice}" if found else choice,
    )


def _read(where: str, schema: Schema, folder: Path) -> Any:
    """Return a schema, read from its file if it is a path."""
    if isinstance(schema, str):
        schema = _read_file(where, folder / schema)
    if not isinstance(schema, dict):
        raise PipelineError(
            f"{where} is {type(schema).__name__}, not an Avro record", "Give a path or a dict"
        )
    return schema


def _read_file(where: str, path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PipelineError(
            f"{where} {path} cannot be read: {error.strerror}", "Correct the path"
        ) from None
    except (ValueError, RecursionError) as error:
        raise PipelineError(f"{where} {path} is not JSON: {error}", "Correct the file") from None
