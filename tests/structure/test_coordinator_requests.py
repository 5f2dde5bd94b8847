"""No admin client reads or changes committed offsets: librdkafka crashes when that fails."""

import ast

from tests.structure.sources import sources

CRASHING_REQUESTS = {"alter_consumer_group_offsets", "list_consumer_group_offsets"}


def test_no_admin_client_asks_for_committed_offsets() -> None:
    found = [
        f"{source}:{node.lineno} calls {node.attr}"
        for folder in ("stream_app", "benchmarks")
        for source in sources(folder)
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Attribute) and node.attr in CRASHING_REQUESTS
    ]
    assert not found, "\n".join(found)
