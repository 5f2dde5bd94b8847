"""Schemas that the tests of the registry share."""

import json
from typing import Any
from uuid import uuid4


def record(*fields: tuple[Any, ...], name: str = "Payment", **more: Any) -> dict[str, Any]:
    """A record; a field is its name, its type and perhaps what else it has."""
    made = [
        {"name": field, "type": kind, **(rest[0] if rest else {})} for field, kind, *rest in fields
    ]
    return {"type": "record", "name": name, "fields": made, **more}


def text(*fields: tuple[Any, ...], **more: Any) -> str:
    """A record as JSON."""
    return json.dumps(record(*fields, **more))


def unique_subject() -> str:
    """A subject that no other test has."""
    return f"p{uuid4().hex[:8]}.raw-value"


ID = ("id", "string")
AMOUNT = ("amount", "double", {"default": 0.0})
COUNTRY = ("country", ["null", "string"], {"default": None})
