"""Dead letters with Avro values are selected by their fields, shown, and fixed."""

import json
from pathlib import Path

import orjson
import pytest

from stream_app.broker import EmbeddedBroker
from stream_app.records import Failure
from stream_app.schema_registry import open_registry
from tests.avro_samples import changed, framed
from tests.cli.test_commands import Commands
from tests.dead_letters.dead_letter_samples import sample, write
from tests.small_pipeline import EVENT_SCHEMA, event

pytestmark = [pytest.mark.broker, pytest.mark.faults]

RENAMED = changed(EVENT_SCHEMA, amount=None, total="double")
EDIT = """
import orjson

def fix(dead_letter):
    fields = dead_letter.record
    fields["amount"] = fields.pop("total")
    return orjson.dumps(fields)
"""


def test_commands_decode_avro_dead_letters_with_the_registry(
    tmp_path: Path, broker: EmbeddedBroker
) -> None:
    commands = Commands(tmp_path, broker)
    registry = commands.settings.registry.model_copy(
        update={"url": (tmp_path / "schemas").as_uri()}
    )
    (tmp_path / "schemas").mkdir()
    schema_id = open_registry(registry).register(f"{commands.name}.raw-value", json.dumps(RENAMED))
    commands.environment |= {
        "STREAM_APP_DATA_DIR": str(tmp_path / "data"),
        "STREAM_APP_REGISTRY__URL": registry.url or "",
    }
    commands.json("topics", "create", "PIPELINE")
    values = []
    for number in range(10):
        fields = event(number)
        fields["total"] = fields.pop("amount")
        values.append(framed(RENAMED, fields, schema_id))
    unknown_schema_id = schema_id + 77
    values.append(framed(RENAMED, fields, unknown_schema_id))
    missing = Failure("missing-field", "field amount is missing")
    write(
        commands.settings,
        commands.name,
        (
            sample(commands.name, number, missing, value=value)
            for number, value in enumerate(values)
        ),
    )

    chosen = commands.run(
        "dead-letters", "list", "PIPELINE", "--where", "record and record['total'] > 6", "--json"
    )[0]
    assert sorted(orjson.loads(line)["key"] for line in chosen.splitlines()) == ["e7", "e8", "e9"]
    shown = commands.run("dead-letters", "show", "PIPELINE", "--key", "e7")[0]
    assert '"total": 7.0' in shown
    # The bytes are shown in hexadecimal.
    assert "00 00 00 00" in shown

    (tmp_path / "fix.py").write_text(EDIT)
    preview = commands.json("dead-letters", "try", "PIPELINE", "--edit", f"{tmp_path}/fix.py:fix")
    assert (preview["passed"], preview["failing"][0]["message"]) == (10, "AttributeError")
