"""Compiles the core for an installation: `python setup.py build_ext --inplace`, and in each wheel.

Without a C compiler nothing is compiled, and the same sources run interpreted.
"""

import contextlib
import io
import os
import runpy
import shutil
import sys
import sysconfig
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from setuptools import Distribution, Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError, LinkError

PACKAGE = Path("stream_app")
CORE: dict[str, Any] = runpy.run_path(str(PACKAGE / "compiled_core.py"))
# Types of other packages are not needed, so that a build depends on nothing that is installed.
MYPY = (
    "--config-file=",
    "--no-site-packages",
    "--ignore-missing-imports",
    # Reports nothing about modules that are not compiled.
    "--follow-imports=silent",
    "--cache-dir=/dev/null",
)
# Without it, compilers for some processors round a * b + c once, and scores differ in a last bit.
FLAGS = ("-ffp-contract=off",)
UNCOMPILED = "The core is not compiled: {}. The same sources run interpreted, with more CPU."


class NotCompiledError(Exception):
    """The core cannot be compiled here."""


def require_compiler() -> str:
    """Return the command of the C compiler.

    Raises:
        NotCompiledError: there is none, or the headers of Python are missing.
    """
    command = str(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(command) is None:
        raise NotCompiledError(f"there is no C compiler ({command})")
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        raise NotCompiledError("the headers of Python (Python.h) are not installed")
    return command


def generate(folder: Path) -> list[Extension]:
    """Write the C code of the modules to a folder, and return it as extensions."""
    try:
        from mypyc.build import mypycify
    except ImportError:
        raise NotCompiledError("mypy is not installed") from None
    files = [f"{PACKAGE}/{name.replace('.', '/')}.py" for name in CORE["MODULES"]]
    messages = io.StringIO()
    try:
        with contextlib.redirect_stdout(messages), contextlib.redirect_stderr(messages):
            return list(
                mypycify(
                    [*MYPY, *files],
                    opt_level="1",
                    debug_level="0",
                    multi_file=True,
                    target_dir=str(folder),
                    group_name=CORE["LIBRARY"],
                )
            )
    except SystemExit:
        sys.stderr.write(messages.getvalue())
        raise NotCompiledError("mypyc does not accept the lines above") from None


def compile_core(target: Path) -> None:
    """Compile the modules into a folder; the library comes last, as it makes the build complete."""
    # Known only after setuptools was imported.
    from distutils.ccompiler import new_compiler
    from distutils.sysconfig import customize_compiler

    compiler = new_compiler()
    customize_compiler(compiler)
    includes = [sysconfig.get_path("include"), sysconfig.get_path("platinclude")]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        extensions = generate(folder)

        def compile_one(extension: Extension, source: str) -> list[str]:
            return compiler.compile(
                [source],
                output_dir=name,
                include_dirs=[*includes, *extension.include_dirs],
                extra_postargs=[*extension.extra_compile_args, *FLAGS],
            )

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            objects = [
                [pool.submit(compile_one, extension, source) for source in extension.sources]
                for extension in extensions
            ]
        built = {}
        for extension, compiled in zip(extensions, objects, strict=True):
            built[extension.name] = CORE["module_file"](folder, extension.name)
            compiler.link_shared_object(
                [path for future in compiled for path in future.result()],
                str(built[extension.name]),
                extra_postargs=extension.extra_link_args,
            )
        if CORE["source_hash"](PACKAGE) != target.name:
            raise NotCompiledError("its sources were changed while they were compiled")
        target.mkdir(parents=True, exist_ok=True)
        library = CORE["library_file"](target).name
        for file in sorted(built.values(), key=lambda file: file.name == library):
            shutil.move(file, target / file.name)


class BuildCore(build_ext):
    """Puts the compiled core beside its sources, or into the wheel."""

    def run(self) -> None:
        """Compile the core if it is not compiled, or its sources have changed since."""
        package = PACKAGE if self.inplace else Path(self.build_lib, PACKAGE)
        target = package / CORE["BUILDS"].name / CORE["source_hash"](PACKAGE)
        if CORE["library_file"](target).is_file():
            return
        started = time.monotonic()
        try:
            compiler = require_compiler()
            count = len(CORE["MODULES"])
            say(f"Compiling {count} modules of the core with {compiler}: about a minute ...")
            compile_core(target)
        except (NotCompiledError, CompileError, LinkError) as error:
            say(UNCOMPILED.format(error))
            return
        for outdated in set(target.parent.iterdir()) - {target}:
            shutil.rmtree(outdated)
        say(f"Compiled the core in {time.monotonic() - started:.0f} s")

    def get_outputs(self) -> list[str]:
        """Return no file, for those of a wheel are found in its folder."""
        return []

    def get_output_mapping(self) -> dict[str, str]:
        """Return no file, for those of an editable installation are beside the sources."""
        return {}


class CoreDistribution(Distribution):
    """Distribution that depends on the platform where the core can be compiled."""

    def has_ext_modules(self) -> bool:
        """Return True if there is a C compiler."""
        try:
            require_compiler()
        except NotCompiledError:
            return False
        return True


def say(text: str) -> None:
    """Write a line to standard error."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    setup(cmdclass={"build_ext": BuildCore}, distclass=CoreDistribution)
