"""docker-compose.yml as Compose reads it."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"

Service = dict[str, Any]


def read_compose(variables: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Returns the file with anchors resolved and `${NAME:-default}` substituted."""
    known = variables or {}
    text = re.sub(
        r"\$\{(\w+):-([^}]*)\}",
        lambda found: known.get(found[1], found[2]),
        (ROOT / "docker-compose.yml").read_text(),
    )
    assert "$" not in text, "a variable without a default"
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


def is_job(service: Service) -> bool:
    """Return True if the service ends by itself."""
    return service.get("restart", "no") in ("no", "on-failure") and not is_builder(service)


def is_app(service: Service) -> bool:
    """Return True if the service runs the project's image."""
    return bool(service["image"] == "stream-app") and not is_builder(service)


def is_builder(service: Service) -> bool:
    """Return True if the service only builds an image, and has no container."""
    return "build" in service and service["scale"] == 0
