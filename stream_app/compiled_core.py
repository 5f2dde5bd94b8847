"""Selects the compiled modules of the core, built from the same sources as the interpreted ones.

A build is in a folder named by the hash of its sources, so that an outdated one is never loaded.
The hash is computed when a module of the core is imported first, and takes about a millisecond.
`setup.py` makes the build. Only the standard library is imported here.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from hashlib import sha256
from importlib.abc import MetaPathFinder
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

# Modules below `stream_app` that are compiled: those whose CPU per record falls by it.
MODULES = (
    "core.alarms.alarm_monitor",
    "core.alarms.class_flips",
    "core.alarms.count_bets",
    "core.alarms.coverage",
    "core.alarms.evidence",
    "core.alarms.flip_check",
    "core.alarms.flip_detector",
    "core.alarms.flip_null",
    "core.alarms.hour_counts",
    "core.alarms.input_drift",
    "core.alarms.label_detector",
    "core.alarms.label_feed",
    "core.alarms.label_sources",
    "core.alarms.number_flips",
    "core.alarms.positive_share",
    "core.alarms.rank_bets",
    "core.alarms.stream_monitor",
    "core.alarms.tempering",
    "core.alarms.volume",
    "core.monitoring.delay_quantiles",
    "core.monitoring.distribution_monitor",
    "core.monitoring.window_lengths",
    "core.monitoring.window_monitor",
    "core.slots_state",
    "core.published_records",
    "core.reading.event_time",
    "core.reading.decoding",
    "core.reading.typed_decoding",
    "core.reading.cleaning_steps",
    "core.reading.record_reader",
    "core.reading.robust_watermark",
    "core.scoring.event_clock",
    "core.scoring.expiry_queue",
    "core.scoring.label_outcomes",
    "core.scoring.lateness",
    "core.scoring.partition_state",
    "core.scoring.prediction_blocks",
    "core.scoring.predictor",
    "core.scoring.record_counts",
    "core.scoring.retries",
    "core.scoring.scored_encoding",
    "core.scoring.scorer",
    "core.scoring.source_watermarks",
    "core.scoring.state_changelog",
    "core.scoring.state_codec",
    "core.evaluation.classification_metrics",
    "core.evaluation.evaluator",
    "core.evaluation.roc_auc",
    "core.learning.finite_learning",
    "core.learning.learner",
    "core.learning.learner_state",
    "model_store.linear_folding",
    "worker.quarantine.journal_slot",
)
# Library with the code of all modules; the files of the single modules only refer to it.
LIBRARY = "stream_app_core"
_LIBRARY = f"{LIBRARY}__mypyc"

# Modules outside `core` from which the compiled ones import; a change of them may change the code.
# This one has the list of the modules.
IMPORTED = (
    "cleaning",
    "compiled_core",
    "error_codes",
    "formatting",
    "headers",
    "pipeline",
    "records",
    "resilience",
    "sources",
    "topic_kinds",
    "transformers",
)

# Setting that forces the interpreted core; it is read before the other settings can be.
VARIABLE = "STREAM_APP_CORE"
INTERPRETED = "interpreted"

PACKAGE = Path(__file__).parent
BUILDS = PACKAGE / "_compiled"

COMPILED = "compiled"
FORCED = f"interpreted, because {VARIABLE} is {INTERPRETED}"
OUTDATED = "interpreted, because its sources have changed since it was compiled"
NOT_BUILT = "interpreted, because it was not compiled for this Python"


def source_hash(package: Path = PACKAGE) -> str:
    """Return the hash of the sources of a build, 16 hexadecimal digits."""
    found = sha256()
    for file in _sources(package):
        content = file.read_bytes()
        found.update(f"{file.relative_to(package).as_posix()} {len(content)}\n".encode())
        found.update(content)
    return found.hexdigest()[:16]


def _sources(package: Path) -> Iterator[Path]:
    yield from sorted((package / "core").rglob("*.py"))
    yield package / "model_store" / "linear_folding.py"
    yield from (package / f"{name}.py" for name in IMPORTED)


def module_file(folder: Path, name: str) -> Path:
    """Return the file of a compiled module, given its full name."""
    return folder / (name + EXTENSION_SUFFIXES[0])


def library_file(folder: Path) -> Path:
    """Return the file of the library, without which a build is not complete."""
    return module_file(folder, _LIBRARY)


class Build(NamedTuple):
    """Core of this process.

    Attributes:
        state: `COMPILED`, or that the core is interpreted and why.
        folder: folder of the compiled modules; None if the core is interpreted.
    """

    state: str
    folder: Path | None = None


def core_state() -> str:
    """Return which core this process runs: `COMPILED`, or that it is interpreted and why."""
    return selected_build().state


@cache
def selected_build() -> Build:
    """Return the core of this process, which does not change while it runs."""
    if os.environ.get(VARIABLE, "").strip().lower() == INTERPRETED:
        return Build(FORCED)
    builds = [library.parent for library in BUILDS.glob(f"*/{library_file(BUILDS).name}")]
    if not builds:
        return Build(NOT_BUILT)
    current = BUILDS / source_hash()
    return Build(COMPILED, current) if current in builds else Build(OUTDATED)


class CompiledCoreFinder(MetaPathFinder):
    """Finds the compiled modules of the core if the process runs them."""

    def __init__(self) -> None:
        self._names = frozenset((_LIBRARY, *(f"stream_app.{name}" for name in MODULES)))

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a compiled module, None for all others."""
        if fullname not in self._names:
            return None
        state, folder = selected_build()
        if folder is None:
            self._names = frozenset()
            if state == OUTDATED:
                # Imported when it is needed, because it takes longer than all of this.
                import logging

                logging.getLogger("stream_app").warning("The core is %s; run `make compile`", state)
            return None
        file = str(module_file(folder, fullname))
        return spec_from_file_location(fullname, file, loader=ExtensionFileLoader(fullname, file))


_FINDER = CompiledCoreFinder()


def use_compiled_core() -> None:
    """Import the compiled modules of the core from now on, if they are of these sources."""
    if _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)
