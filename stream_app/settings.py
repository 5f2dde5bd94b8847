"""Settings from environment variables `STREAM_APP_*`, nested by two underscores.

No other module reads them, except `compiled_core`, which does before pydantic is imported.
"""

import os
import re
from collections.abc import Iterator
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Literal

from platformdirs import user_cache_path, user_data_path
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from stream_app.errors import SettingsError

SecurityProtocol = Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"]
SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"]

# A host name, or an IPv4 or IPv6 address, and a port; the default of both Kafka clients is 9092.
_SERVER = re.compile(r"(?:\[[0-9A-Fa-f:.%]+\]|[\w.-]+)(?::(\d{1,5}))?")
_HIGHEST_PORT = 65_535
# Kubernetes gives each container the addresses of the Services of its namespace; these are the
# variables of a Service that is named stream-app.
_SERVICE_LINK = re.compile(
    r"STREAM_APP_(SERVICE_(HOST|PORT(_\w+)?)|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)"
)


class _Section(BaseModel):
    """Group of settings; the docstring of each is its description in the reference."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class KafkaSettings(_Section):
    """Kafka cluster and credentials; without `bootstrap_servers`, the embedded broker is used."""

    bootstrap_servers: str | None = None
    """Addresses of the cluster, as `host:port,host:port`, without a protocol. Unset: the embedded
    broker."""
    security_protocol: SecurityProtocol = "plaintext"
    """Protocol of connections: `ssl` encrypts, `sasl_*` authenticate."""
    sasl_mechanism: SaslMechanism = "SCRAM-SHA-512"
    """Authentication mechanism for `sasl_plaintext` and `sasl_ssl`."""
    username: str | None = None
    """User name for PLAIN and SCRAM."""
    password: SecretStr | None = None
    """Password for PLAIN and SCRAM; prefer `password_file`."""
    password_file: Path | None = None
    """File with the password; a trailing line break is ignored."""
    oauth_token_url: str | None = None
    """Token endpoint for OAUTHBEARER (OAuth 2 client credentials)."""
    oauth_client_id: str | None = None
    """Client id for OAUTHBEARER."""
    oauth_client_secret: SecretStr | None = None
    """Client secret for OAUTHBEARER; prefer `oauth_client_secret_file`."""
    oauth_client_secret_file: Path | None = None
    """File with the client secret."""
    oauth_scope: str = ""
    """Scope to request, if the identity provider requires one."""
    ca_file: Path | None = None
    """Certificates (PEM) of the trusted authorities. Unset: those of the system."""
    certificate_file: Path | None = None
    """Client certificate (PEM, with its chain), for mTLS."""
    key_file: Path | None = None
    """Private key (PEM) of the client certificate."""
    key_password: SecretStr | None = None
    """Password of the private key, if it has one; prefer `key_password_file`."""
    key_password_file: Path | None = None
    """File with the password of the private key."""
    check_hostname: bool = True
    """True: the certificate of a broker must contain its host name."""

    @field_validator("bootstrap_servers")
    @classmethod
    def _check_servers(cls, servers: str | None) -> str | None:
        """Return addresses that both Kafka clients understand; librdkafka alone accepts others."""
        found = [server.strip() for server in servers.split(",")] if servers else []
        for server in found:
            if "://" in server:
                raise ValueError(
                    f"{server!r} contains a protocol, and must be host:port; "
                    "STREAM_APP_KAFKA__SECURITY_PROTOCOL sets the protocol"
                )
            found_port = _SERVER.fullmatch(server)
            if found_port is None or not 0 < int(found_port[1] or 9092) <= _HIGHEST_PORT:
                raise ValueError(f"{server!r} is not host:port")
        return ",".join(found) or None


class RegistrySettings(_Section):
    """Schema registry, required for records in Avro."""

    url: str | None = None
    """`http(s)://host:port` of a registry with Confluent's API, or `file:///folder` of schemas."""
    username: str | None = None
    """User name for HTTP basic authentication."""
    password: SecretStr | None = None
    """Password for HTTP basic authentication; prefer `password_file`."""
    password_file: Path | None = None
    """File with the password."""
    ca_file: Path | None = None
    """Certificates (PEM) of the trusted authorities. Unset: those of the system."""
    timeout_seconds: float = Field(default=5.0, gt=0, le=60)
    """Longest time to wait for a response, including one retry. Partitions that need a schema wait
    until the registry answers."""


class BrokerSettings(_Section):
    """Embedded Kafka broker."""

    port: int | None = Field(default=None, ge=1, le=65535)
    """Port of the broker. Unset: a free port, chosen at the first start and kept."""
    heap: str = Field(default="512m", pattern=r"^\d+[mg]$")
    """Heap size of the Java process, such as `512m` or `2g`."""
    repository: str = "https://repo.maven.apache.org/maven2"
    """Maven repository from which the jars are downloaded."""


class TopicSettings(_Section):
    """Configuration of topics when they are created."""

    partitions: int = Field(default=4, ge=1, le=1000)
    """Partitions of raw, labels, scored, dead letters and the state of scorers. Cannot be changed
    later."""
    replication: int = Field(default=1, ge=1, le=10)
    """Replicas of each partition."""
    retention_hours: int = Field(default=7 * 24, ge=-1)
    """Retention of raw, labels, scored, dead letters and monitoring, in hours; -1 is unlimited.
    Examples and audit are always kept."""
    max_message_bytes: int = Field(default=1024 * 1024, ge=1024, le=64 * 1024 * 1024)
    """Largest raw record, in bytes; dead letters, state and examples may be 64 KiB larger."""


class WorkerSettings(_Section):
    """Limits of a worker.

    A transaction is committed when the first of `commit_interval_ms`, `commit_records` and
    `commit_bytes` is reached.
    """

    commit_interval_ms: int = Field(default=100, ge=1, le=5000)
    """Time in which records are committed, in milliseconds: lower is less latency and throughput.

    It counts from the arrival of a record, and does not include the commit.
    """
    commit_records: int = Field(default=20_000, ge=1)
    """Largest number of records in a transaction."""
    commit_bytes: int = Field(default=16 * 1024 * 1024, ge=1024)
    """Largest number of bytes written in a transaction."""
    session_timeout_seconds: float = Field(default=6.0, ge=6.0, le=60.0)
    """Time without a heartbeat after which the partitions of a worker are assigned to others."""
    transaction_timeout_seconds: float = Field(default=10.0, ge=1.0, le=60.0)
    """Time after which the broker aborts the transaction of a worker that hangs."""
    max_batch_records: int = Field(default=3000, ge=1, le=10_000)
    """Largest number of records of a partition that are processed at once."""
    max_state_entries: int = Field(default=1_000_000, ge=1000)
    """Largest number of pending events of a partition in memory. If it is exceeded, the oldest
    expire."""
    quarantine_seconds: float = Field(default=300.0, ge=0.0, le=86_400.0)
    """Duration of the quarantine after a record crashed or hung the worker: every record is first
    processed in a child process."""
    accept_data_loss: bool = False
    """True: start although unread records were deleted. Set it for a single start."""
    health_host: str = "127.0.0.1"
    """Address of the HTTP server with `/metrics`, `/healthz` and `/readyz`."""
    health_port: int = Field(default=0, ge=0, le=65535)
    """Port of that server; 0 selects a free one."""


class LearnSettings(_Section):
    """Publication of model versions, checkpoints and retention by the learner."""

    publish_seconds: float = Field(default=1.0, gt=0)
    """Time after which a new version is published, if anything was learned."""
    publish_examples: int = Field(default=1000, ge=1)
    """Number of examples after which a new version is published earlier."""
    publish_share: float = Field(default=0.05, gt=0, le=1)
    """Largest share of the learner's time that publishing may take, in (0, 1]."""
    checkpoint_seconds: float = Field(default=5.0, gt=0)
    """Time between two checkpoints of the learner."""
    keep_versions: int = Field(default=500, ge=2)
    """Number of newest versions to keep. Versions that are pinned, were trained or were ever
    selected are kept as well."""


class KeySettings(_Section):
    """Keys that sign model versions and verify them before they are loaded."""

    folder: Path | None = None
    """Folder of all keys, with a subfolder for each pipeline. Unset: `<data_dir>/keys`. The learner
    creates a key if there is none."""
    signing_file: Path | None = None
    """Private key (PEM, Ed25519) for the learner and `train`; other processes do not need it."""
    trusted_folder: Path | None = None
    """Folder of the public keys (PEM) that scorers trust, and of revocations."""


class LogSettings(_Section):
    """Structured logs on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Lowest level that is logged."""
    format: Literal["auto", "json", "console"] = "auto"
    """`auto` is `console` on a terminal and `json` otherwise."""


class Settings(BaseSettings):
    """All settings, e.g. `STREAM_APP_KAFKA__BOOTSTRAP_SERVERS=kafka:9092`."""

    model_config = SettingsConfigDict(
        env_prefix="STREAM_APP_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
    )

    data_dir: Path = Field(default_factory=lambda: user_data_path("stream-app"))
    """Folder of the embedded broker, the artifact store and run files. Unset: a folder per user."""
    cache_dir: Path = Field(default_factory=lambda: user_cache_path("stream-app"))
    """Folder of downloads, which can be deleted."""
    store_url: str = ""
    """Store of model artifacts, as an fsspec URL shared by learner and scorers. Unset:
    `<data_dir>/store`."""
    core: Literal["compiled", "interpreted"] = "compiled"
    """Code that processes the records: `compiled` where it was compiled, else `interpreted`, which
    needs more CPU per record. Both write the same records. `doctor` says which one runs."""
    kafka: KafkaSettings = KafkaSettings()
    registry: RegistrySettings = RegistrySettings()
    broker: BrokerSettings = BrokerSettings()
    topics: TopicSettings = TopicSettings()
    worker: WorkerSettings = WorkerSettings()
    learn: LearnSettings = LearnSettings()
    keys: KeySettings = KeySettings()
    log: LogSettings = LogSettings()
    fault_point: str = ""
    """Name of the point in the code at which the process kills itself, for tests of recovery."""

    @property
    def store(self) -> str:
        """Return the URL of the artifact store: `store_url`, or a folder below `data_dir`."""
        return self.store_url or (self.data_dir / "store").absolute().as_uri()


@cache
def load_settings() -> Settings:
    """Return the settings in the environment, which is read once.

    Raises:
        SettingsError: a variable has an invalid value or is unknown.
    """
    _reject_unknown()
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        variable = "STREAM_APP_" + "__".join(str(part) for part in first["loc"]).upper()
        raise SettingsError(
            f"{variable} is invalid: {first['msg'].removeprefix('Value error, ')}",
            "Correct or unset it",
        ) from None


def service_links_warning() -> str | None:
    """Return the warning about variables of a Kubernetes Service named stream-app, or None."""
    found = sorted(variable for variable in os.environ if _SERVICE_LINK.fullmatch(variable.upper()))
    if not found:
        return None
    return (
        "ignored, because Kubernetes sets them for a Service named stream-app: "
        f"{', '.join(found)}. Set `enableServiceLinks: false` in the pod"
    )


def _reject_unknown() -> None:
    """Reject misspelt variables, which pydantic would silently ignore."""
    prefix = str(Settings.model_config["env_prefix"])
    known = list(_variables(Settings, prefix))
    for variable in sorted(os.environ):
        name = variable.upper()
        if not name.startswith(prefix) or name in known or _SERVICE_LINK.fullmatch(name):
            continue
        nearest = get_close_matches(name, known, 1, cutoff=0.0)[0]
        raise SettingsError(
            f"{variable} is not a setting", f"Unset or correct it; the nearest name is {nearest}"
        )


def _variables(section: type[BaseModel], prefix: str) -> Iterator[str]:
    """Yield the variable of every setting below a prefix."""
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _variables(field.annotation, f"{prefix}{name.upper()}__")
        else:
            yield f"{prefix}{name.upper()}"


def read_secret(value: SecretStr | None, file: Path | None, variable: str) -> str | None:
    """Return a secret, or None if neither a value nor a file is given.

    Args:
        value: secret in the setting.
        file: file with the secret; a trailing line break is ignored.
        variable: name of the setting without `_FILE`, for messages.

    Raises:
        SettingsError: both are given, or the file cannot be read or is empty.
    """
    if file is None:
        return value.get_secret_value() if value is not None else None
    if value is not None:
        raise SettingsError(f"{variable} and {variable}_FILE are both set", "Unset one of them")
    try:
        secret = file.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise SettingsError(
            f"{variable}_FILE cannot be read: {reason}", "Name a file that you may read"
        ) from None
    if not secret:
        raise SettingsError(f"{variable}_FILE is empty", "Write the secret into it")
    return secret
