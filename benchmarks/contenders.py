"""How each stream processor of `benchmarks.peers` is started, and which topics it writes."""

import os
import sys
import time
from pathlib import Path
from subprocess import DEVNULL, Popen
from typing import NamedTuple

from benchmarks.cluster import Ends, create
from stream_app.settings import Settings, TopicSettings
from stream_app.topics import topic_specs

SCRIPTS = {
    "transactional": "transactional",
    "bare": "bare",
    "bytewax": "bytewax_flow",
    "quix": "quix",
    "faust": "faust_app",
}
CONTENDERS = ("ours", *SCRIPTS)
SLOW = {"faust": 10, "quix": 2}
"""These get that part of the events only."""


class Race(NamedTuple):
    """What a contender finds: the broker, a folder, the name of its topics, and how many partitions and workers."""

    servers: str
    folder: Path
    name: str
    partitions: int
    workers: int

    @property
    def raw(self) -> str:
        """The topic that it reads."""
        return f"{self.name}.raw"

    @property
    def outputs(self) -> list[str]:
        """The topics in which every event has an outcome."""
        return [f"{self.name}.scored", f"{self.name}.raw.dlq"]


def make_topics(race: Race) -> None:
    """The topics of a pipeline of ours; the others use some of them."""
    settings = Settings(topics=TopicSettings(partitions=race.partitions))
    create(race.servers, {spec.name: spec.partitions for spec in topic_specs(race.name, settings)})


def start(race: Race, contender: str) -> list[Popen[bytes]]:
    """The running processes of a contender."""
    if contender == "ours":
        return _start_ours(race)
    state = [f"{race.name}.score.state"] if contender == "transactional" else []
    script = [sys.executable, "-m", f"benchmarks.peers.{SCRIPTS[contender]}"]
    command = [*script, race.servers, race.raw, *race.outputs, *state]
    return [Popen(command, stdout=DEVNULL, stderr=DEVNULL) for _ in range(race.workers)]


def _start_ours(race: Race) -> list[Popen[bytes]]:
    """The score role as `stream-app worker` runs it; the learner has published version 0 and is gone."""
    file = race.folder / f"{race.name}.py"
    file.write_text(f"from benchmarks.peers.ours import make\n\npipeline = make({race.name!r})\n")
    environment = os.environ | {
        "STREAM_APP_KAFKA__BOOTSTRAP_SERVERS": race.servers,
        "STREAM_APP_DATA_DIR": str(race.folder / "data"),
        "STREAM_APP_TOPICS__PARTITIONS": str(race.partitions),
        "STREAM_APP_LOG__LEVEL": "warning",
        "PYTHONPATH": os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")]),
    }
    worker = [sys.executable, "-m", "stream_app", "worker", str(file), "--role"]
    _publish_untrained(race, Popen([*worker, "learn"], env=environment))
    return [Popen([*worker, "score", "--instance", str(number)], env=environment) for number in range(race.workers)]


def _publish_untrained(race: Race, learner: Popen[bytes]) -> None:
    models = Ends(race.servers, [f"{race.name}.models"])
    try:
        while models.total() == 0:
            if learner.poll() is not None:
                raise RuntimeError("the learner ended")
            time.sleep(0.1)
    finally:
        models.close()
        learner.terminate()
        learner.wait(20)
