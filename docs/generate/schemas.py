"""`schemas.md`: fields of the records that the program writes."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docs.generate.markdown import code, paragraphs, table
from stream_app.kafka.topic_uses import USES

FOLDER = Path(__file__).resolve().parent.parent.parent / "schemas"

_INTRODUCTION = """# Schemas

Records that the program writes, as Avro schemas in [`schemas/`](../../schemas). Times are Unix
milliseconds unless noted otherwise. Raw records and labels have the schemas of the
[pipeline](pipeline.md). A dead letter has the original bytes, with
[headers](errors.md#headers-of-a-dead-letter).
"""

_NOTES = {
    "scored": """If the pipeline declares `pass_through`, the last field is `fields`: a record with
the fields of the event that it names, before cleaning. In JSON, their values are as validated: a
missing field has its default, timestamps are Unix milliseconds, and bytes are text of code points
up to 255. In [Avro](../avro.md#passed-fields) they have the types of the event's schema.
"""
}


def page() -> str:
    """Returns the page, with one section for each schema, in the order of their topics."""
    carried = dict.fromkeys(use.schema for use in USES.values())
    files = {file.stem: file for file in sorted(FOLDER.glob("*.avsc"))}
    order = [name for name in carried if name in files] + [
        name for name in files if name not in carried
    ]
    return "\n".join(
        [_INTRODUCTION, *(_section(name, json.loads(files[name].read_text())) for name in order)]
    )


def _section(name: str, schema: dict[str, Any]) -> str:
    rows = [
        [code(path), _type(field["type"]), _documentation(field)] for path, field in flat(schema)
    ]
    return "\n".join(
        [
            f"## {name}\n",
            paragraphs(schema["doc"]) + "\n",
            table(["field", "type", "meaning"], rows),
            *([_NOTES[name]] if name in _NOTES else []),
        ]
    )


def flat(schema: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields every field with its path; the fields of a nested record follow it."""
    for field in schema["fields"]:
        yield prefix + field["name"], field
        if isinstance(field["type"], dict) and field["type"]["type"] == "record":
            yield from flat(field["type"], f"{prefix}{field['name']}.")


def _documentation(field: dict[str, Any]) -> str:
    default = f" Default: `{json.dumps(field['default'])}`." if "default" in field else ""
    return str(field["doc"]) + default


def _type(kind: Any) -> str:
    """Returns a type in words.

    >>> _type(["null", {"type": "map", "values": "long"}])
    'map of long, or null'
    """
    if isinstance(kind, list):
        named = [_type(branch) for branch in kind if branch != "null"]
        return " or ".join(named) + (", or null" if "null" in kind else "")
    if isinstance(kind, str):
        return kind
    match kind["type"]:
        case "array":
            return f"array of {_type(kind['items'])}"
        case "map":
            return f"map of {_type(kind['values'])}"
        case "enum":
            return "one of " + ", ".join(code(symbol) for symbol in kind["symbols"])
    logical = kind.get("logicalType")
    return f"{kind['type']} ({logical})" if logical else str(kind["type"])
