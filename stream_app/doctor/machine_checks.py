"""Checks of this machine: settings, Python and packages, disks, the embedded broker."""

import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path

from stream_app.compiled_core import OUTDATED, core_state
from stream_app.doctor.context import CheckResult, DoctorContext, ok, problem, skipped, warning
from stream_app.kafka.security import check_security

_PINNED = re.compile(r"([\w.-]+)(?:\[[\w,-]+\])?==([\w.]+)$")
_PYTHON = re.compile(r"<(\d+)\.(\d+)")
_CONSEQUENCES = {"confluent-kafka": ": its librdkafka may block for ever when a broker leaves"}
InstalledVersion = Callable[[str], str | None]

_GIB = 2**30
PROBLEM_BYTES = _GIB // 4
WARNING_BYTES = 2 * _GIB


def check_settings(context: DoctorContext) -> Iterator[CheckResult]:
    """Check that every setting is known and valid, and that the security settings fit together."""
    check_security(context.settings.kafka)
    yield ok("the settings are valid")
    if context.settings.worker.accept_data_loss:
        yield warning(
            "STREAM_APP_WORKER__ACCEPT_DATA_LOSS is set: workers skip deleted records silently",
            "Unset it as soon as the workers have started",
        )


def check_versions(_: DoctorContext) -> Iterator[CheckResult]:
    """Check the versions of Python and of every package that is pinned."""
    try:
        pinned = [
            match.groups()
            for line in requires("stream-app") or ()
            if (match := _PINNED.match(line))
        ]
        unsupported = _PYTHON.search(metadata("stream-app")["Requires-Python"] or "")
    except PackageNotFoundError:
        yield skipped(
            "stream-app runs from a folder and is not installed, so its pins are not known"
        )
        return
    here = ".".join(map(str, sys.version_info[:3]))
    if unsupported is not None and sys.version_info[:2] >= tuple(map(int, unsupported.groups())):
        yield problem(
            f"Python {here} is not supported",
            f"Use a Python before {'.'.join(unsupported.groups())}",
        )
    else:
        yield ok(f"Python {here}")
    yield from compare_versions([(name, wanted) for name, wanted in pinned], _installed)


def check_core(_: DoctorContext) -> Iterator[CheckResult]:
    """Check that the compiled core, if there is one, is that of the sources."""
    state = core_state()
    if state == OUTDATED:
        yield warning(f"the core is {state}", "Compile it again: make compile")
    else:
        yield ok(f"the core is {state}")


def compare_versions(
    pinned: Iterable[tuple[str, str]], installed: InstalledVersion
) -> Iterator[CheckResult]:
    """Yield a problem for each package whose version differs from its pin.

    Args:
        pinned: names and versions.
        installed: returns the installed version of a package, None if it is missing.
    """
    wrong = [
        (name, wanted, found) for name, wanted in pinned if (found := installed(name)) != wanted
    ]
    for name, wanted, found in wrong:
        message = f"{name} {found or 'is missing, instead of'}" + (
            f" instead of {wanted}" if found else f" {wanted}"
        )
        yield problem(message + _CONSEQUENCES.get(name, ""), f"pip install {name}=={wanted}")
    if not wrong:
        yield ok("the packages are those that this version was tested with")


def check_disks(context: DoctorContext) -> Iterator[CheckResult]:
    """Check the free space of the disks that this machine writes to."""
    folders = {"data": context.settings.data_dir, "cache": context.settings.cache_dir}
    if context.settings.store.startswith("file://"):
        folders["artifact store"] = Path(context.settings.store.removeprefix("file://"))
    seen: dict[int, str] = {}
    for name, folder in folders.items():
        existing = next(
            parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists()
        )
        device = existing.stat().st_dev
        if device not in seen:
            seen[device] = name
            usage = shutil.disk_usage(existing)
            yield evaluate_disk(f"disk of the {name} folder {existing}", usage.free, usage.total)


def evaluate_disk(name: str, free: int, total: int) -> CheckResult:
    """Return the result for a disk with so many free and total bytes."""
    space = f"{name}: {free / _GIB:.1f} of {total / _GIB:.0f} GiB free"
    remedy = "Free some space, or set STREAM_APP_DATA_DIR to a larger disk"
    if free < PROBLEM_BYTES:
        return problem(space, remedy)
    return warning(space, remedy) if free < WARNING_BYTES else ok(space)


def check_embedded_broker(context: DoctorContext) -> Iterator[CheckResult]:
    """Check Java and the jars of the embedded broker, if it is used."""
    from stream_app.broker.java_runtime import find_java, kafka_version, read_lock

    if context.settings.kafka.bootstrap_servers:
        yield skipped(
            "the embedded broker is not used: STREAM_APP_KAFKA__BOOTSTRAP_SERVERS names a cluster"
        )
        return
    yield ok(f"Java of the embedded broker: {find_java()}")
    jars = read_lock()
    folder = context.settings.cache_dir / f"kafka-{kafka_version(jars)}"
    files = [(folder / jar.path, jar.size) for jar in jars]
    missing = [size for file, size in files if not file.is_file() or file.stat().st_size != size]
    if missing:
        megabytes, repository = sum(missing) / 1e6, context.settings.broker.repository
        yield warning(
            f"{len(missing)} of {len(files)} jars of Kafka are not in {folder}",
            f"The next start of the broker downloads {megabytes:.0f} MB from {repository}",
        )
    else:
        yield ok(f"Kafka {kafka_version(jars)} is in {folder}")


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
