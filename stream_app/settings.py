"""The only reader of the environment: `STREAM_APP_*` variables, nested by two underscores."""

import os
from collections.abc import Iterator
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Literal

from platformdirs import user_cache_path, user_data_path
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from stream_app.errors import SettingsError

SecurityProtocol = Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"]
SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"]


class _Section(BaseModel):
    """Settings that belong together; the text below each is its description in the reference."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class KafkaSettings(_Section):
    """Which cluster to use, and who we are there; without `bootstrap_servers` the embedded broker."""

    bootstrap_servers: str | None = None
    """Addresses of the cluster, as `host:port,host:port`; unset, the embedded broker."""
    security_protocol: SecurityProtocol = "plaintext"
    """How connections are secured: `ssl` encrypts, `sasl_*` authenticate."""
    sasl_mechanism: SaslMechanism = "SCRAM-SHA-512"
    """How to authenticate, with `sasl_plaintext` and `sasl_ssl`."""
    username: str | None = None
    """User of PLAIN and SCRAM."""
    password: SecretStr | None = None
    """Their password; better in a file."""
    password_file: Path | None = None
    """File that holds the password; a line break at its end does not count."""
    oauth_token_url: str | None = None
    """Where OAUTHBEARER asks for tokens (OAuth 2 client credentials)."""
    oauth_client_id: str | None = None
    """Client id for that."""
    oauth_client_secret: SecretStr | None = None
    """Client secret for that; better in a file."""
    oauth_client_secret_file: Path | None = None
    """File that holds the client secret."""
    oauth_scope: str = ""
    """Scope to ask for, if the identity provider wants one."""
    ca_file: Path | None = None
    """Certificates (PEM) of the authorities to trust; unset, the system's."""
    certificate_file: Path | None = None
    """Our own certificate (PEM, with its chain), for mTLS."""
    key_file: Path | None = None
    """Its private key (PEM)."""
    key_password: SecretStr | None = None
    """The private key's password, if it has one; better in a file."""
    key_password_file: Path | None = None
    """File that holds the private key's password."""
    check_hostname: bool = True
    """Whether a broker's certificate must name the host that we connect to."""


class RegistrySettings(_Section):
    """The schema registry, for records in Avro."""

    url: str | None = None
    """`http(s)://host:port` of a registry with Confluent's API, or `file:///folder` of schemas by id."""
    username: str | None = None
    """User of HTTP basic authentication."""
    password: SecretStr | None = None
    """Its password; better in a file."""
    password_file: Path | None = None
    """File that holds the password."""
    ca_file: Path | None = None
    """Certificates (PEM) of the authorities to trust; unset, the system's."""
    timeout_seconds: float = Field(default=5.0, gt=0, le=60)
    """How long to wait for an answer, which is asked for twice; meanwhile the partition pauses, nothing is lost."""


class BrokerSettings(_Section):
    """The embedded broker."""

    port: int | None = Field(default=None, ge=1, le=65535)
    """Its port; unset, a free one is taken the first time and kept."""
    heap: str = Field(default="512m", pattern=r"^\d+[mg]$")
    """Java's heap."""
    repository: str = "https://repo.maven.apache.org/maven2"
    """Maven repository that its jars are fetched from."""


class TopicSettings(_Section):
    """How topics are created."""

    partitions: int = Field(default=4, ge=1, le=1000)
    """Of raw, labels, scored, dead letters and the scorers' state; fixed once created."""
    replication: int = Field(default=1, ge=1, le=10)
    """Copies of each partition."""
    retention_hours: int = Field(default=7 * 24, ge=-1)
    """Of raw, labels, scored, dead letters and monitoring; -1 keeps for ever."""
    max_message_bytes: int = Field(default=1024 * 1024, ge=1024, le=64 * 1024 * 1024)
    """Largest raw record; dead letters, state and examples may be 64 KiB larger."""


class WorkerSettings(_Section):
    """A worker's limits. A transaction ends at the first of `commit_interval_ms`, `commit_records`, `commit_bytes`."""

    commit_interval_ms: int = Field(default=100, ge=1, le=5000)
    """Longest time a transaction stays open: latency against throughput."""
    commit_records: int = Field(default=20_000, ge=1)
    """Most records in a transaction."""
    commit_bytes: int = Field(default=16 * 1024 * 1024, ge=1024)
    """Most bytes written in a transaction."""
    session_timeout_seconds: float = Field(default=6.0, ge=6.0, le=60.0)
    """After so long without a sign of life a worker's partitions go to others."""
    transaction_timeout_seconds: float = Field(default=10.0, ge=1.0, le=60.0)
    """After so long the broker aborts the transaction of a worker that hangs."""
    max_batch_records: int = Field(default=3000, ge=1, le=10_000)
    """Most records fetched of a partition at once."""
    max_state_entries: int = Field(default=1_000_000, ge=1000)
    """Most events that a partition keeps in memory; beyond it the oldest are closed as expired."""
    suspicion_seconds: float = Field(default=300.0, ge=0.0, le=86_400.0)
    """After a record that crashed or hung the worker, every record is tried in a child process first, for so long."""
    accept_data_loss: bool = False
    """Go on although records were deleted before they were read. For one start, by your decision."""
    health_host: str = "127.0.0.1"
    """Address that `/metrics`, `/healthz` and `/readyz` are served on."""
    health_port: int = Field(default=0, ge=0, le=65535)
    """Its port; 0 takes a free one."""


class LearnSettings(_Section):
    """When the learner publishes a version and when it writes a checkpoint; what it keeps."""

    publish_seconds: float = Field(default=1.0, gt=0)
    """A version comes out after so long, if anything was learned."""
    publish_examples: int = Field(default=1000, ge=1)
    """Or after so many examples."""
    publish_share: float = Field(default=0.05, gt=0, le=1)
    """But never so often that publishing takes more than this share of the time."""
    checkpoint_seconds: float = Field(default=5.0, gt=0)
    """Time between two checkpoints."""
    keep_versions: int = Field(default=500, ge=2)
    """So many of the newest versions stay; so do those that are pinned, were trained, or were ever chosen."""


class KeySettings(_Section):
    """Where the keys are that model versions are signed with, and checked against before they are loaded."""

    folder: Path | None = None
    """Folder of all keys, one below it per pipeline; unset, `<data_dir>/keys`. The learner makes a key there if there
    is none."""
    signing_file: Path | None = None
    """The private key (PEM, Ed25519) that the learner and `train` sign with; nobody else needs it."""
    trusted_folder: Path | None = None
    """Folder of the public keys (PEM) that scorers trust, and of what is revoked."""


class LogSettings(_Section):
    """Structured logs on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe level that is logged."""
    format: Literal["auto", "json", "console"] = "auto"
    """`auto` is for people on a terminal, else JSON."""


class Settings(BaseSettings):
    """Everything that can be set from outside, e.g. `STREAM_APP_KAFKA__BOOTSTRAP_SERVERS=kafka:9092`."""

    model_config = SettingsConfigDict(
        env_prefix="STREAM_APP_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
    )

    data_dir: Path = Field(default_factory=lambda: user_data_path("stream-app"))
    """Embedded broker, artifact store and run files; per user unless set."""
    cache_dir: Path = Field(default_factory=lambda: user_cache_path("stream-app"))
    """What was fetched and can be fetched again."""
    store_url: str = ""
    """Where model artifacts are kept, as a URL of fsspec; learner and scorers share it. Unset, `<data_dir>/store`."""
    kafka: KafkaSettings = KafkaSettings()
    registry: RegistrySettings = RegistrySettings()
    broker: BrokerSettings = BrokerSettings()
    topics: TopicSettings = TopicSettings()
    worker: WorkerSettings = WorkerSettings()
    learn: LearnSettings = LearnSettings()
    keys: KeySettings = KeySettings()
    log: LogSettings = LogSettings()
    fault_point: str = ""
    """For tests of crashes: the name of the point in the code at which a process kills itself."""

    @property
    def store(self) -> str:
        """URL of the artifact store: `store_url`, or a folder below `data_dir`."""
        return self.store_url or (self.data_dir / "store").absolute().as_uri()


@cache
def load_settings() -> Settings:
    """Read the environment; a wrong value or an unknown variable is a `SettingsError` that names it."""
    _refuse_unknown()
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        variable = "STREAM_APP_" + "__".join(str(part) for part in first["loc"]).upper()
        raise SettingsError(f"{variable} is wrong: {first['msg']}", "Correct or unset it") from None


def _refuse_unknown() -> None:
    """A misspelt variable would be ignored in silence: pydantic sees only those that it knows."""
    prefix = str(Settings.model_config["env_prefix"])
    known = list(_variables(Settings, prefix))
    for variable in sorted(os.environ):
        name = variable.upper()
        if not name.startswith(prefix) or name in known:
            continue
        nearest = get_close_matches(name, known, 1, cutoff=0.0)[0]
        raise SettingsError(
            f"{variable} is not a setting", f"Unset it, or correct it: the nearest is {nearest}"
        )


def _variables(section: type[BaseModel], prefix: str) -> Iterator[str]:
    """The variable of every setting below `prefix`; a section as a whole has none."""
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _variables(field.annotation, f"{prefix}{name.upper()}__")
        else:
            yield f"{prefix}{name.upper()}"
