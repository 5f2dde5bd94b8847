"""The only reader of the environment: `STREAM_APP_*` variables, nested by two underscores."""

from functools import cache
from pathlib import Path
from typing import Literal

from platformdirs import user_cache_path, user_data_path
from pydantic import BaseModel, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from stream_app.errors import SettingsError


class KafkaSettings(BaseModel):
    """Which cluster to use; without `bootstrap_servers` the embedded broker."""

    bootstrap_servers: str | None = None


class BrokerSettings(BaseModel):
    """The embedded broker. `port`: None picks a free one the first time and keeps it."""

    port: int | None = Field(default=None, ge=1, le=65535)
    heap: str = Field(default="512m", pattern=r"^\d+[mg]$")
    repository: str = "https://repo.maven.apache.org/maven2"


class TopicSettings(BaseModel):
    """How topics are created. `retention_hours`: of raw, labels, scored and dead letters; -1 keeps for ever."""

    partitions: int = Field(default=4, ge=1, le=1000)
    replication: int = Field(default=1, ge=1, le=10)
    retention_hours: int = Field(default=7 * 24, ge=-1)
    max_message_bytes: int = Field(default=1024 * 1024, ge=1024, le=64 * 1024 * 1024)


class WorkerSettings(BaseModel):
    """A worker's limits. A transaction ends at the first of `commit_interval_ms`, `commit_records`, `commit_bytes`.

    `health_host`, `health_port`: where `/metrics`, `/healthz` and `/readyz` are served; port 0 takes a free one.
    """

    commit_interval_ms: int = Field(default=100, ge=1, le=5000)
    commit_records: int = Field(default=10_000, ge=1)
    commit_bytes: int = Field(default=8 * 1024 * 1024, ge=1024)
    session_timeout_seconds: float = Field(default=6.0, ge=6.0, le=60.0)
    transaction_timeout_seconds: float = Field(default=10.0, ge=1.0, le=60.0)
    max_batch_records: int = Field(default=1000, ge=1, le=10_000)
    max_state_entries: int = Field(default=1_000_000, ge=1000)
    accept_data_loss: bool = False
    health_host: str = "127.0.0.1"
    health_port: int = Field(default=0, ge=0, le=65535)


class LearnSettings(BaseModel):
    """When the learner publishes a version and when it writes a checkpoint.

    A version comes out `publish_examples` after the last, or `publish_seconds` if anything was learned; never so often
    that publishing takes more than `publish_share` of the time.
    """

    publish_seconds: float = Field(default=1.0, gt=0)
    publish_examples: int = Field(default=1000, ge=1)
    publish_share: float = Field(default=0.05, gt=0, le=1)
    checkpoint_seconds: float = Field(default=5.0, gt=0)


class LogSettings(BaseModel):
    """Structured logs on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = "auto"


class Settings(BaseSettings):
    """Everything that can be set from outside, e.g. `STREAM_APP_KAFKA__BOOTSTRAP_SERVERS=kafka:9092`."""

    model_config = SettingsConfigDict(env_prefix="STREAM_APP_", env_nested_delimiter="__", extra="forbid", frozen=True)

    data_dir: Path = Field(default_factory=lambda: user_data_path("stream-app"))
    cache_dir: Path = Field(default_factory=lambda: user_cache_path("stream-app"))
    store_url: str = ""
    kafka: KafkaSettings = KafkaSettings()
    broker: BrokerSettings = BrokerSettings()
    topics: TopicSettings = TopicSettings()
    worker: WorkerSettings = WorkerSettings()
    learn: LearnSettings = LearnSettings()
    log: LogSettings = LogSettings()

    @property
    def store(self) -> str:
        """URL of the artifact store: `store_url`, or a folder below `data_dir`."""
        return self.store_url or (self.data_dir / "store").absolute().as_uri()


@cache
def load_settings() -> Settings:
    """Read the environment; a wrong value is a `SettingsError` that names the variable."""
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        variable = "STREAM_APP_" + "__".join(str(part) for part in first["loc"]).upper()
        raise SettingsError(f"{variable} is wrong: {first['msg']}", "Correct or unset it") from None
