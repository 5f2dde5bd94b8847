"""No admin client asks a group's coordinator: librdkafka crashes when such a request fails."""

import ast

from tests.structure.sources import sources

COORDINATOR_REQUESTS = {
    "alter_consumer_group_offsets",
    "describe_consumer_groups",
    "list_consumer_group_offsets",
}


def test_no_admin_client_asks_a_coordinator() -> None:
    found = [
        f"{source}:{node.lineno} calls {node.attr}"
        for source in sources("stream_app")
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Attribute) and node.attr in COORDINATOR_REQUESTS
    ]
    assert not found, "\n".join(found)
