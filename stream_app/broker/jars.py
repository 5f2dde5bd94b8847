"""The server's jars: which they are (`jars.lock`), fetched once per user, verified byte by byte at every start."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock

from stream_app.broker.broker_errors import disk_errors
from stream_app.broker.download import PAUSES, Download, fetch_all, sha512_of

MAVEN_CENTRAL = "https://repo.maven.apache.org/maven2"
LOCK_FILE = Path(__file__).with_name("jars.lock")


@dataclass(frozen=True, slots=True)
class Jar:
    """One line of the lock file. `path`: in a Maven repository; `size`: bytes."""

    path: str
    sha512: str
    size: int


def read_lock(file: Path = LOCK_FILE) -> tuple[Jar, ...]:
    """Read a lock file: a line per jar, `path sha512 size`."""
    fields = (line.split() for line in file.read_text().splitlines())
    return tuple(Jar(path, digest, int(size)) for path, digest, size in fields)


def kafka_version(jars: Iterable[Jar]) -> str:
    """The version of the Kafka server among `jars`."""
    return next(
        jar.path.split("/")[-2]
        for jar in jars
        if jar.path.startswith("org/apache/kafka/kafka_2.13/")
    )


@dataclass(frozen=True, slots=True)
class JarCache:
    """The verified jars of a lock file in `folder`, fetched from the Maven repository at `repository`.

    `pauses`: seconds before each further try of a failed download. `name`: what the jars make up, for the progress.
    """

    folder: Path
    repository: str = MAVEN_CENTRAL
    jars: tuple[Jar, ...] = field(default_factory=read_lock)
    pauses: Sequence[float] = PAUSES
    name: str = "Apache Kafka"

    def fetch(self) -> list[Path]:
        """Return all jars, after fetching those that are missing or damaged; one process at a time does so.

        Errors: `DownloadError`, `DiskError`.
        """
        with disk_errors(self.folder):
            if self._unusable():
                self.folder.mkdir(parents=True, exist_ok=True)
                with FileLock(self.folder / "fetch.lock"):
                    fetch_all(
                        [self._download(jar) for jar in self._unusable()], self.pauses, self.name
                    )
        return [self.folder / jar.path for jar in self.jars]

    def _unusable(self) -> list[Jar]:
        with ThreadPoolExecutor(4) as pool:
            return [
                jar
                for jar, good in zip(self.jars, pool.map(self._verify, self.jars), strict=True)
                if not good
            ]

    def _verify(self, jar: Jar) -> bool:
        file = self.folder / jar.path
        return file.is_file() and file.stat().st_size == jar.size and sha512_of(file) == jar.sha512

    def _download(self, jar: Jar) -> Download:
        return Download(
            f"{self.repository.rstrip('/')}/{jar.path}",
            self.folder / jar.path,
            jar.sha512,
            jar.size,
        )
