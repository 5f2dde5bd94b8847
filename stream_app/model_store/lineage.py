"""What learning goes on from, when it goes on from a version."""

from typing import Any

from stream_app.core.learning.learned_model import LearnedModel
from stream_app.model_store.manifest import Manifest


def learned_of(manifest: Manifest, model: Any) -> LearnedModel:
    """The version's own River `model`, with what the manifest says that it has learned."""
    return LearnedModel(
        model=model,
        learned=manifest.learned,
        learned_through=manifest.learned_through,
        learned_to=manifest.version if manifest.origin == "learned" else 0,
        features=frozenset(manifest.features),
        laboratory=manifest.laboratory,
    )
