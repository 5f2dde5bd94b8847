"""This machine: Python and packages, disks, the Java of the embedded broker."""

import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path

from stream_app.doctor.context import DoctorContext
from stream_app.doctor.results import CheckResult, ok, problem, skipped, warning

_PINNED = re.compile(r"([\w.-]+)(?:\[[\w,-]+\])?==([\w.]+)$")
_PYTHON = re.compile(r"<(\d+)\.(\d+)")
_WHY = {"confluent-kafka": ": its librdkafka may block for ever when a broker leaves"}
Installed = Callable[[str], str | None]

_GIB = 2**30
PROBLEM_BYTES = _GIB // 4
WARNING_BYTES = 2 * _GIB


def check_versions(_: DoctorContext) -> Iterator[CheckResult]:
    """Python, and every package that is pinned to one version."""
    try:
        pinned = [
            match.groups()
            for line in requires("stream-app") or ()
            if (match := _PINNED.match(line))
        ]
        beyond = _PYTHON.search(metadata("stream-app")["Requires-Python"] or "")
    except PackageNotFoundError:
        yield skipped(
            "stream-app runs from a folder and is not installed, so its pins are not known"
        )
        return
    here = ".".join(map(str, sys.version_info[:3]))
    if beyond is not None and sys.version_info[:2] >= (int(beyond[1]), int(beyond[2])):
        yield problem(
            f"Python {here} is not supported", f"Use a Python before {beyond[1]}.{beyond[2]}"
        )
    else:
        yield ok(f"Python {here}")
    yield from compare_versions([(name, wanted) for name, wanted in pinned], _installed)


def compare_versions(
    pinned: Iterable[tuple[str, str]], installed: Installed
) -> Iterator[CheckResult]:
    """What differs from its pin; `installed` tells the version of a package, None if it is missing."""
    wrong = [
        (name, wanted, found) for name, wanted in pinned if (found := installed(name)) != wanted
    ]
    for name, wanted, found in wrong:
        message = f"{name} {found or 'is missing, instead of'}" + (
            f" instead of {wanted}" if found else f" {wanted}"
        )
        yield problem(message + _WHY.get(name, ""), f"pip install {name}=={wanted}")
    if not wrong:
        yield ok("the packages are those that this version was tested with")


def check_disks(it: DoctorContext) -> Iterator[CheckResult]:
    """Room for what is written here."""
    folders = {"data": it.settings.data_dir, "cache": it.settings.cache_dir}
    if it.settings.store.startswith("file://"):
        folders["artifact store"] = Path(it.settings.store.removeprefix("file://"))
    seen: dict[int, str] = {}
    for name, folder in folders.items():
        existing = next(
            parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists()
        )
        device = existing.stat().st_dev
        if device not in seen:
            seen[device] = name
            usage = shutil.disk_usage(existing)
            yield judge_disk(f"disk of the {name} folder {existing}", usage.free, usage.total)


def judge_disk(what: str, free: int, total: int) -> CheckResult:
    """By what is left, in bytes."""
    room = f"{what}: {free / _GIB:.1f} of {total / _GIB:.0f} GiB free"
    remedy = "Make room, or set STREAM_APP_DATA_DIR to a larger disk"
    if free < PROBLEM_BYTES:
        return problem(room, remedy)
    return warning(room, remedy) if free < WARNING_BYTES else ok(room)


def check_embedded_broker(it: DoctorContext) -> Iterator[CheckResult]:
    """Java and the jars, if the broker is ours."""
    from stream_app.broker.jars import kafka_version, read_lock
    from stream_app.broker.java import find_java

    if it.settings.kafka.bootstrap_servers:
        yield skipped(
            "the embedded broker is not used: STREAM_APP_KAFKA__BOOTSTRAP_SERVERS names a cluster"
        )
        return
    yield ok(f"Java of the embedded broker: {find_java()}")
    jars = read_lock()
    folder = it.settings.cache_dir / f"kafka-{kafka_version(jars)}"
    files = [(folder / jar.path, jar.size) for jar in jars]
    missing = [size for file, size in files if not file.is_file() or file.stat().st_size != size]
    if missing:
        yield warning(
            f"{len(missing)} of {len(files)} jars of Kafka are not in {folder}",
            f"The next start of the broker fetches {sum(missing) / 1e6:.0f} MB from {it.settings.broker.repository}",
        )
    else:
        yield ok(f"Kafka {kafka_version(jars)} is in {folder}")


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
