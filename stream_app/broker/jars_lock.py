"""Maintainers' script: `python -m stream_app.broker.jars_lock 4.1.2` writes `jars.lock`.

Maven resolves the dependencies of a Kafka version and verifies them; the lock file pins them by
SHA-512.
"""

import subprocess
import sys
from hashlib import sha512
from pathlib import Path
from tempfile import TemporaryDirectory

LOCK_FILE = Path(__file__).with_name("jars.lock")
# The version that Kafka itself depends on.
LOG4J = "2.25.3"

_POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>lock</groupId><artifactId>lock</artifactId><version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{kafka}</version>
    </dependency>
    <dependency>
      <groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>{log4j}</version>
    </dependency>
  </dependencies>
</project>
"""


def resolve(version: str, folder: Path) -> None:
    """Copy the run-time jars of a Kafka server to a folder in the layout of a Maven repository."""
    pom = folder / "pom.xml"
    pom.write_text(_POM.format(kafka=version, log4j=LOG4J))
    goal = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
    options = [
        "-DincludeScope=runtime",
        "-Dmdep.useRepositoryLayout=true",
        f"-DoutputDirectory={folder}",
    ]
    subprocess.run(
        ["mvn", "--batch-mode", "--quiet", "--file", str(pom), goal, *options], check=True
    )


def describe(folder: Path) -> str:
    """Return the text of the lock file: one line `path sha512 size` per jar."""
    jars = sorted(folder.rglob("*.jar"))
    lines = (
        f"{jar.relative_to(folder)} {sha512(jar.read_bytes()).hexdigest()} {jar.stat().st_size}"
        for jar in jars
    )
    return "\n".join(lines) + "\n"


def main(version: str) -> None:
    """Write the lock file for a Kafka version."""
    with TemporaryDirectory() as folder:
        resolve(version, Path(folder))
        LOCK_FILE.write_text(describe(Path(folder)))


if __name__ == "__main__":
    main(sys.argv[1])
