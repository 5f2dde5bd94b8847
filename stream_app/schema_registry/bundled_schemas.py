"""The schemas of what the system itself writes, which are part of the package."""

import json
from importlib.resources import files
from typing import Any, Literal

PackagedName = Literal["scored", "monitoring", "example", "manifest"]


def packaged_schema(name: PackagedName) -> dict[str, Any]:
    """The Avro schema of `<pipeline>.scored`, `.monitoring`, `.examples` or `.models`.

    >>> packaged_schema("scored")["name"]
    'Scored'
    """
    schema: dict[str, Any] = json.loads(
        (files("stream_app") / "schemas" / f"{name}.avsc").read_text(encoding="utf-8")
    )
    return schema
