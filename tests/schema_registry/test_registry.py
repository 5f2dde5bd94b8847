"""Scored records with passed fields in Avro: registered, typed, and readable by other libraries."""

import io
import json
from pathlib import Path
from typing import Any

import fastavro
import orjson
import pytest

from stream_app.cleaning import Impute
from stream_app.core.scoring.partition_state import PartitionState
from stream_app.core.scoring.scorer import Scorer, ScorerConfig
from stream_app.pipeline import Pipeline
from stream_app.records import Features, Output
from stream_app.schema_registry import open_registry
from stream_app.schema_registry.schema_cache import SchemaCache
from stream_app.schema_registry.subjects import (
    check_schemas,
    register_schemas,
    versions_in_registry,
)
from stream_app.settings import RegistrySettings, Settings
from stream_app.worker.roles.output_encoders import OutputEncoders
from tests.small_pipeline import EVENT_SCHEMA, HOUR, NOW, event, record, small_pipeline

CURRENCY = {"type": "enum", "name": "Currency", "symbols": ["EUR", "USD"]}
SCHEMA = {
    **EVENT_SCHEMA,
    "namespace": "shop",
    "fields": [*EVENT_SCHEMA["fields"], {"name": "currency", "type": CURRENCY, "default": "EUR"}],
}


class HalfModel:
    """Model that gives every event the same score."""

    name = "payments"
    version = 3

    def score(self, values: Features) -> float:
        return 0.5


def declared(*names: str) -> Pipeline:
    return small_pipeline(
        schema=SCHEMA, clean=(Impute("country", "NL"),), pass_through=names, format="avro"
    )


def scored(pipeline: Pipeline, encode: Any) -> bytes:
    """Return the value of a scored record."""
    config = ScorerConfig(
        fingerprint="f" * 16, group="g", app_version="1", max_bytes=10_000, max_entries=10
    )
    state = PartitionState(0, horizon=24 * HOUR, lateness=6 * HOUR)
    scorer = Scorer(pipeline, config, state, lambda: 0.0, encode=encode)
    outputs: list[Output] = scorer.score([record(event(1, country=None))], HalfModel(), NOW)
    return next(output.value or b"" for output in outputs if output.topic == "scored")


@pytest.mark.parametrize("names", [(), ("currency", "country", "amount")])
def test_workers_write_the_registered_schema(tmp_path: Path, names: tuple[str, ...]) -> None:
    pipeline = declared(*names)
    settings = Settings(registry=RegistrySettings(url=tmp_path.as_uri()))
    registered = {one.subject: one.id for one in register_schemas(pipeline, settings)}
    registry, encoders = open_registry(settings.registry), OutputEncoders()
    encoders.use_avro(pipeline, registry, SchemaCache(registry))
    value = scored(pipeline, encoders.scored)
    schema_id = int.from_bytes(value[1:5], "big")
    assert schema_id == registered["payments.scored-value"]
    schema = json.loads(registry.schema(schema_id))
    read: Any = fastavro.schemaless_reader(io.BytesIO(value[5:]), schema, None)
    assert read == orjson.loads(scored(pipeline, orjson.dumps))
    assert read.get("fields") == (
        {"currency": "EUR", "country": None, "amount": 1.0} if names else None
    )


def test_a_passed_field_can_be_added_and_removed_later(tmp_path: Path) -> None:
    settings = Settings(registry=RegistrySettings(url=tmp_path.as_uri()))
    for names in ((), ("country",), ("currency", "country", "at"), ("currency",)):
        results = {one.subject: one.result for one in register_schemas(declared(*names), settings)}
        assert results["payments.scored-value"] == "registered"
    assert register_schemas(declared(), settings)[2].result == "exists"
    versions = versions_in_registry(open_registry(settings.registry))
    assert {one.result for one in check_schemas(declared("country"), versions)} == {"unchanged"}
    assert check_schemas(declared("at"), versions)[2].result == "compatible"
