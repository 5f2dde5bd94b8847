"""Schemas shared by the tests of the registry."""

import json
from typing import Any
from uuid import uuid4


def record(*fields: tuple[Any, ...], name: str = "Payment", **more: Any) -> dict[str, Any]:
    """Return a record schema; a field is its name, type, and optionally other attributes."""
    made = [
        {"name": field, "type": kind, **(rest[0] if rest else {})} for field, kind, *rest in fields
    ]
    return {"type": "record", "name": name, "fields": made, **more}


def schema_text(*fields: tuple[Any, ...], **more: Any) -> str:
    """Return a record schema as JSON."""
    return json.dumps(record(*fields, **more))


def unique_subject() -> str:
    """Return a subject that no other test uses."""
    return f"p{uuid4().hex[:8]}.raw-value"


ID = ("id", "string")
AMOUNT = ("amount", "double", {"default": 0.0})
COUNTRY = ("country", ["null", "string"], {"default": None})
